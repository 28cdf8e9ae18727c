package config_test

import (
	"testing"
	"time"

	"rebound/config"
	"rebound/examples"
)

func loadShop(t testing.TB) *config.Snapshot {
	t.Helper()
	s, err := config.LoadFS(examples.FS, examples.Shop, config.Options{Now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestShop(t *testing.T) {
	s := loadShop(t)
	for _, w := range s.Warnings {
		t.Log(w)
	}
}
