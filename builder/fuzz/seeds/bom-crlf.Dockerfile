# comment
FROM a
	RUN b \
  # c

 d \ 	
 e
COPY <<E /x
x
E
  ENV a=b
LABEL x=y
