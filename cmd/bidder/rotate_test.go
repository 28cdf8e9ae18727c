package main

import (
	"crypto/rand"
	"testing"
	"time"

	"rebound/rtb"
	"rebound/tracking"
)

// A new key signs; notices of the older ones verify for as long as they can be in flight.
func TestKeysRotate(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	if _, err := rotateKeys(dir, now, rand.Reader); err == nil {
		t.Fatal("keys that do not exist were rotated")
	}
	k, err := loadKeys(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := func(k *keyFile) *tracking.Signer {
		t.Helper()
		s, err := tracking.NewSigner(k.tokenKeys(), "https://edge.example")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	claims := &rtb.Claims{Bid: rtb.BidID{1}, Exchange: "demo"}
	token := func(k *keyFile) []byte {
		s, sealed := signer(k), &rtb.SealedClaims{}
		s.Seal(sealed, claims)
		return s.AppendToken(nil, rtb.NoticeBill, sealed)
	}
	verifies := func(k *keyFile, token []byte) bool {
		_, err := signer(k).Verify(rtb.NoticeBill, token)
		return err == nil
	}
	fingerprint := k.fingerprint()
	tokens := [][]byte{token(k)}
	for range 3 { // every two days
		now = now.Add(48 * time.Hour)
		if _, err = rotateKeys(dir, now, rand.Reader); err != nil {
			t.Fatal(err)
		}
		if k, err = loadKeys(dir, rand.Reader); err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token(k))
		for i, tok := range tokens {
			if !verifies(k, tok) {
				t.Errorf("after %d rotations the token of key %d does not verify", len(tokens)-1, i)
			}
		}
	}
	if k.fingerprint() != fingerprint {
		t.Error("visitors became strangers")
	}
	ids := map[byte]bool{}
	for _, x := range k.Tokens {
		ids[x.ID] = true
	}
	if len(ids) != 4 {
		t.Errorf("got ids %v; want one for each key", ids)
	}
	now = now.Add(7 * 24 * time.Hour) // the first two were replaced more than 8 days ago
	if k, err = rotateKeys(dir, now, rand.Reader); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, false, true, true} {
		if verifies(k, tokens[i]) != want {
			t.Errorf("9 days on, the token of key %d verifies: %v; want %v", i, !want, want)
		}
	}
	for range maxTokenKeys {
		_, err = rotateKeys(dir, now, rand.Reader)
	}
	if err == nil {
		t.Error("keys can be rotated without limit")
	}
}
