package bidder

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rebound/campaigns"
)

// skadnRequest is imp.ext.skadn (IAB Tech Lab, SKAdNetwork). Only lines for an
// app read it, so it may cost what a decoder costs.
type skadnRequest struct {
	Version    string   `json:"version"`
	Versions   []string `json:"versions"`
	SourceApp  any      `json:"sourceapp"`
	Networks   []string `json:"skadnetids"`
	Fidelities []any    `json:"fidelities"`
	List       struct {
		Max      int      `json:"max"`
		Excluded []int    `json:"excl"`
		Added    []string `json:"addl"`
	} `json:"skadnetlist"`
}

// skadnVersions are those that can be answered, the best first, and whether they
// name the source by an identifier instead of a campaign.
var skadnVersions = []struct {
	name       string
	identifier bool
}{{"4.0", true}, {"3.0", false}, {"2.2", false}}

// skadnFidelity is one signed way of showing the ad: 1 as a store page in the app.
type skadnFidelity struct {
	Fidelity  int    `json:"fidelity"`
	Nonce     string `json:"nonce"`
	Timestamp string `json:"timestamp"`
	Signature string `json:"signature"`
}

// skadnAnswer is bid.ext.skadn.
type skadnAnswer struct {
	Version          string          `json:"version"`
	Network          string          `json:"network"`
	Campaign         string          `json:"campaign,omitempty"`
	SourceIdentifier string          `json:"sourceidentifier,omitempty"`
	ITunesItem       string          `json:"itunesitem"`
	SourceApp        string          `json:"sourceapp"`
	Fidelities       []skadnFidelity `json:"fidelities"`
}

// appendSKAdN appends the member skadn of bid.ext, or nothing where the request
// does not list our network or no version of it can be answered: such a bid is
// an ordinary one.
func appendSKAdN(dst []byte, start int, in *Input, app *campaigns.App, raw []byte) []byte {
	var rq skadnRequest
	s := app.SKAdN
	if json.Unmarshal(raw, &rq) != nil || !slices.ContainsFunc(append(rq.Networks, rq.List.Added...), func(n string) bool { return strings.EqualFold(n, s.Network) }) {
		return dst
	}
	a := skadnAnswer{Network: s.Network, ITunesItem: app.Bundle, SourceApp: looseText(rq.SourceApp)}
	if rq.Version != "" {
		rq.Versions = append(rq.Versions, rq.Version)
	}
	for _, v := range skadnVersions {
		if !slices.Contains(rq.Versions, v.name) || v.identifier && s.SourceIdentifier == "" || !v.identifier && s.Campaign == "" {
			continue
		}
		if a.Version = v.name; v.identifier {
			a.SourceIdentifier = s.SourceIdentifier
		} else {
			a.Campaign = s.Campaign
		}
		break
	}
	if a.Version == "" || a.SourceApp == "" || !a.sign(in, s.Key) {
		return dst
	}
	text, err := json.Marshal(&a)
	if err != nil {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ',')
	}
	return append(append(dst, `"skadn":`...), text...)
}

// looseText is a text or a whole number as a text.
func looseText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// sign adds the fidelities, view-through and store page, each signed over its
// fields as Apple has it: joined by U+2063.
func (a *skadnAnswer) sign(in *Input, key *ecdsa.PrivateKey) bool {
	const sep = "\u2063"
	source := a.Campaign + a.SourceIdentifier // one of them
	stamp := strconv.FormatInt(in.Now.UnixMilli(), 10)
	for fidelity := range 2 {
		nonce := uuidOf(in.Source)
		text := strings.Join([]string{a.Version, a.Network, source, a.ITunesItem, nonce, a.SourceApp, strconv.Itoa(fidelity), stamp}, sep)
		sum := sha256.Sum256([]byte(text))
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			return false
		}
		a.Fidelities = append(a.Fidelities, skadnFidelity{fidelity, nonce, stamp, base64.StdEncoding.EncodeToString(signature)})
	}
	return true
}

// uuidOf is a random UUID in lower case (RFC 9562, version 4).
func uuidOf(s Source) string {
	hi, lo := s.Uint64(), s.Uint64()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(0xc<<60) | 0x8<<60
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&(1<<48-1))
}
