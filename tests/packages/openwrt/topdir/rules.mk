# OpenWrt's build system, as far as packaging/openwrt/Makefile uses it. There, too, the shell is bash.
SHELL := /bin/bash
INCLUDE_DIR := $(TOPDIR)/include
INSTALL_DIR := install -d -m 755
INSTALL_BIN := install -m 755
INSTALL_CONF := install -m 600
CP := cp -fpR
SED := sed -i -e
