#!/bin/sh
# $name is the node, and each of its parameters stands under its own name
exec ssh -o BatchMode=yes -- "$name" uptime
