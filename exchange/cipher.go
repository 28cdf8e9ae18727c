package exchange

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"time"

	"rebound/rtb"
)

// priceKey is one generation of a price cipher's keys.
type priceKey struct{ encryption, integrity []byte }

// The HMAC-SHA1 scheme (Google Authorized Buyers, "Decrypt price
// confirmations"; also OpenX, BidSwitch, Index): 16 bytes of initialisation
// vector, 8 of price, 4 of signature.
const (
	hmacIV    = 16
	hmacPrice = 8
	hmacSign  = 4
	hmacTotal = hmacIV + hmacPrice + hmacSign
)

// openHMAC decrypts the price with the generation of keys that signed it. It
// checks the signature before it uses the price.
func (p *Profile) openHMAC(raw []byte) (rtb.CPM, PriceStatus) {
	var stack [maxPriceText]byte
	msg, ok := unbase64(stack[:0], raw)
	if !ok || len(msg) != hmacTotal {
		return 0, PriceBad
	}
	for i := range p.keys {
		if v, ok := p.keys[i].openHMAC(msg); ok {
			return inUnit(v, p.priceUnit)
		}
	}
	return 0, PriceForged
}

func (k *priceKey) openHMAC(msg []byte) (int64, bool) {
	iv, sealed, sign := msg[:hmacIV], msg[hmacIV:hmacIV+hmacPrice], msg[hmacIV+hmacPrice:]
	var pad, tag [sha1.Size]byte
	h := hmac.New(sha1.New, k.encryption)
	h.Write(iv)
	h.Sum(pad[:0])
	var price [hmacPrice]byte
	for i := range price {
		price[i] = sealed[i] ^ pad[i]
	}
	h = hmac.New(sha1.New, k.integrity)
	h.Write(price[:])
	h.Write(iv)
	h.Sum(tag[:0])
	if !hmac.Equal(tag[:hmacSign], sign) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(price[:])), true
}

// PriceStamp returns the timestamp within an encrypted price, which reveals stale
// prices, and the initialisation vector, which is unique to a bid; ok is false if
// the codec has none. It does not check the signature.
func (p *Profile) PriceStamp(raw []byte) (at time.Time, iv [16]byte, ok bool) {
	raw, status := plainText(raw, p.priceMacro)
	if p.priceCodec != codecHMAC || status != PriceOK {
		return time.Time{}, iv, false
	}
	var stack [maxPriceText]byte
	msg, ok := unbase64(stack[:0], raw)
	if !ok || len(msg) != hmacTotal {
		return time.Time{}, iv, false
	}
	sec, micro := binary.BigEndian.Uint32(msg), binary.BigEndian.Uint32(msg[4:])
	return time.Unix(int64(sec), int64(micro)*1000).UTC(), [16]byte(msg), true
}

// openAES decrypts AES-128-CBC without padding: the first block is the
// initialisation vector, and the text is a decimal padded on the left (Yahoo). The
// scheme has no signature, so a text that is not a number is the only sign of
// forgery.
func (p *Profile) openAES(raw []byte) (rtb.CPM, PriceStatus) {
	var stack [maxPriceText]byte
	msg, ok := unbase64(stack[:0], raw)
	if !ok || len(msg) < 2*aes.BlockSize || len(msg)%aes.BlockSize != 0 {
		return 0, PriceBad
	}
	iv, sealed := msg[:aes.BlockSize], msg[aes.BlockSize:]
	for _, k := range p.keys {
		block, err := aes.NewCipher(k.encryption)
		if err != nil {
			continue
		}
		text := make([]byte, len(sealed))
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(text, sealed)
		if price, status := parseAmount(bytes.TrimLeft(text, "\x00 "), p.priceUnit); status == PriceOK {
			return price, PriceOK
		}
	}
	return 0, PriceForged
}
