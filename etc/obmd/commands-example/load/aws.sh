#!/bin/sh
# on nodes of the rank aws
echo "instance $ec2_id"
exec ssh -o BatchMode=yes -- "$name" uptime
