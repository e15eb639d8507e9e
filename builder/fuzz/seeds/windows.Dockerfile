# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
WORKDIR C:\app
ENV A="C:\Program Files\x" B=C:\`$x
COPY ["a b", "C:\\app\\c d\\"]
RUN Invoke-WebRequest -Uri https://example.com `
    -OutFile x.zip ; `
# comment

    Remove-Item x.zip
USER ContainerAdministrator
ENTRYPOINT ["C:\\app\\x.exe"]
