#!/bin/sh
# A script of format version 1.
