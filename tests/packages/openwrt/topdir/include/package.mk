prepare:
	$(Build/Prepare)

define BuildPackage
install-$(1):
	$(call Package/$(1)/install,$(DESTDIR))
endef
