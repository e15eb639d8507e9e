FROM	aASb
\
\
RUN x
ENV \
 a=b\

RUN a\\
RUN b\\\
 c
COPY --from="b" 'x y' z
ENV a="${b:-'}'}" c=${d:-"}"}
LABEL x=${a
EXPOSE [80]
RUN
USER \ 
x
CMD
