#!/usr/bin/env -S orlop build -f
# Syntax = docker/dockerfile:1.19-labs
#check= skip=JSONArgsRecommended;error=false
# escape=`
FROM debian
