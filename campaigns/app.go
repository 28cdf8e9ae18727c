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

// App is the app that a line wants installed or opened.
type App struct {
	Bundle string
	SKAdN  *SKAd // nil: SKAdNetwork is not answered
}

// SKAd is what answers SKAdNetwork requests.
type SKAd struct {
	Network          string // lower case
	Campaign         string // 1 to 100; empty: no version before 4.0
	SourceIdentifier string // empty: no version from 4.0 on
	Key              *ecdsa.PrivateKey
}

func (c *compiler) app(path string, s *AppSpec) *App {
	if s.Bundle == "" {
		if s.SKAdN != (SKAdSpec{}) {
			c.Add(path+".bundle", "nothing", "the app's store id")
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
		c.Add(path+".network", spec.Quote(s.Network), "our id such as abcd1234.skadnetwork")
	}
	if _, err := strconv.ParseUint(bundle, 10, 63); err != nil {
		c.Add(path, "the bundle "+spec.Quote(bundle), "an app of Apple's store: digits")
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
		c.AddHint(path+".key", "no key", "a private key on the curve P-256 in PEM", "openssl ecparam -name prime256v1 -genkey -noout")
	}
	return out
}

// privateKey reads a PEM key, PKCS #8 or SEC 1; nil when it is none on P-256.
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
