package collect

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// While the log is unavailable every event fails: all failures are counted, only a few are
// logged.
func TestAFailingLogIsSaidAFewTimes(t *testing.T) {
	core, said := observer.New(zap.ErrorLevel)
	w := newWorld(t)
	setup := w.setup.Load()
	w.Edge = New(Options{Append: w.append, Keyring: w.keyring, Cookies: w.cookies, Random: w.random,
		Now: w.Edge.now, Logger: zap.New(core)})
	w.Swap(setup)
	w.fail = errLog
	for range 500 {
		w.pixel(t, &Call{}, "a=shop&e=view_item")
	}
	if n := w.Stats().Rejected["not_stored"]; n != 500 {
		t.Errorf("got %d events counted; want 500", n)
	}
	if n := said.Len(); n == 0 || n > 20 { // a minute may end during the test
		t.Errorf("got %d lines; want about 10", n)
	}
}
