package campaigns

// Inventory returns a hash of the request's site or app; 0 if it has no name.
func (f *Facts) Inventory() uint64 {
	f.hosts()
	if f.o.Supply.App {
		return f.app.full
	}
	return f.domain.full
}

// Device returns the classes of the request's device and the families of its system, as
// sets that are only good for comparing.
func (f *Facts) Device() (classes, systems uint16) {
	return f.deviceClass(), f.deviceOS()
}
