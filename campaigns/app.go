package campaigns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"strconv"
	"strings"

	"rebound/internal/spec"
)

// App is the app that a line advertises.
type App struct {
	Bundle string
	SKAdN  *SKAd // nil: SKAdNetwork requests are not answered
}

// SKAd answers SKAdNetwork requests.
type SKAd struct {
	Network          string // lower case
	Campaign         string // 1 to 100; empty: no version before 4.0
	SourceIdentifier string // empty: no version from 4.0 on
	Key              *ecdsa.PrivateKey
}

func (c *compiler) app(path string, s *AppSpec) *App {
	if s.Bundle == "" {
		if s.SKAdN != (SKAdSpec{}) {
			c.Add(path+".bundle", "nothing", "the store id of the app")
		}
		return nil
	}
	if len(s.Bundle) > 256 || strings.ContainsAny(s.Bundle, " \t/\"") {
		c.Add(path+".bundle", spec.Quote(s.Bundle), "a store id such as com.shop.app or 123456789")
	}
	return &App{Bundle: s.Bundle, SKAdN: c.skadn(path+".skadn", s.Bundle, &s.SKAdN)}
}

func (c *compiler) skadn(path, bundle string, s *SKAdSpec) *SKAd {
	if *s == (SKAdSpec{}) {
		return nil
	}
	out := &SKAd{Network: strings.ToLower(s.Network), SourceIdentifier: s.SourceIdentifier}
	if !strings.HasSuffix(out.Network, ".skadnetwork") {
		c.Add(path+".network", spec.Quote(s.Network), "our ad network id, such as abcd1234.skadnetwork")
	}
	if _, err := strconv.ParseUint(bundle, 10, 63); err != nil {
		c.Add(path, "the bundle "+spec.Quote(bundle), "the id of an app in Apple's App Store, which is a number")
	}
	if s.Campaign != 0 {
		out.Campaign = strconv.Itoa(s.Campaign)
		if s.Campaign < 1 || s.Campaign > 100 {
			c.Add(path+".campaign", out.Campaign, "1 to 100")
		}
	}
	if _, err := strconv.ParseUint(s.SourceIdentifier, 10, 16); s.SourceIdentifier != "" && (err != nil || len(s.SourceIdentifier) < 2 || len(s.SourceIdentifier) > 4) {
		c.Add(path+".source_identifier", spec.Quote(s.SourceIdentifier), "two to four digits")
	}
	if out.Campaign == "" && out.SourceIdentifier == "" {
		c.Add(path, "neither campaign nor source_identifier", "at least one of them")
	}
	if out.Key = privateKey(s.Key); out.Key == nil {
		c.AddHint(path+".key", "no valid key", "a P-256 private key in PEM format", "openssl ecparam -name prime256v1 -genkey -noout")
	}
	return out
}

// privateKey parses a PEM key, PKCS #8 or SEC 1, and returns nil unless it is a
// P-256 key.
func privateKey(text string) *ecdsa.PrivateKey {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil
		}
		key, _ = any.(*ecdsa.PrivateKey)
	}
	if key == nil || key.Curve != elliptic.P256() {
		return nil
	}
	return key
}
