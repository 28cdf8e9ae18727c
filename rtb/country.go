package rtb

import "strings"

// CountryCodes lists the country codes of ISO 3166-1, each alpha-2 code followed
// by its alpha-3 code, and the codes in common use outside the standard: UK and
// EL (European Union), IC and EA (parts of Spain), XK (Kosovo).
const CountryCodes = `ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA AZAZE
BABIH BBBRB BDBGD BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES BRBRA BSBHS BTBTN BVBVT BWBWA
BYBLR BZBLZ CACAN CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK CLCHL CMCMR CNCHN COCOL CRCRI CUCUB CVCPV CWCUW CXCXR
CYCYP CZCZE DEDEU DJDJI DKDNK DMDMA DODOM DZDZA ECECU EEEST EGEGY EHESH ERERI ESESP ETETH FIFIN FJFJI FKFLK FMFSM
FOFRO FRFRA GAGAB GBGBR GDGRD GEGEO GFGUF GGGGY GHGHA GIGIB GLGRL GMGMB GNGIN GPGLP GQGNQ GRGRC GSSGS GTGTM GUGUM
GWGNB GYGUY HKHKG HMHMD HNHND HRHRV HTHTI HUHUN IDIDN IEIRL ILISR IMIMN ININD IOIOT IQIRQ IRIRN ISISL ITITA JEJEY
JMJAM JOJOR JPJPN KEKEN KGKGZ KHKHM KIKIR KMCOM KNKNA KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO LBLBN LCLCA LILIE LKLKA
LRLBR LSLSO LTLTU LULUX LVLVA LYLBY MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD MLMLI MMMMR MNMNG MOMAC MPMNP
MQMTQ MRMRT MSMSR MTMLT MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM NCNCL NENER NFNFK NGNGA NINIC NLNLD NONOR NPNPL
NRNRU NUNIU NZNZL OMOMN PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT
REREU ROROU RSSRB RURUS RWRWA SASAU SBSLB SCSYC SDSDN SESWE SGSGP SHSHN SISVN SJSJM SKSVK SLSLE SMSMR SNSEN SOSOM
SRSUR SSSSD STSTP SVSLV SXSXM SYSYR SZSWZ TCTCA TDTCD TFATF TGTGO THTHA TJTJK TKTKL TLTLS TMTKM TNTUN TOTON TRTUR
TTTTO TVTUV TWTWN TZTZA UAUKR UGUGA UMUMI USUSA UYURY UZUZB VAVAT VCVCT VEVEN VGVGB VIVIR VNVNM VUVUT WFWLF WSWSM
XKXKX YEYEM YTMYT ZAZAF ZMZMB ZWZWE UKGBR ELGRC ICESP EAESP EUEUE`

// Country is an alpha-2 country code (ISO 3166-1). The zero value means no
// country.
type Country [2]byte

// String returns the alpha-2 code, and an empty string for no country.
func (c Country) String() string {
	if c == (Country{}) {
		return ""
	}
	return string(c[:])
}

type countryTable struct {
	two   [26 * 26]Country
	three [26 * 26 * 26]Country
}

var countryOf = newCountryTable()

func newCountryTable() *countryTable {
	t := new(countryTable)
	for _, pair := range strings.Fields(CountryCodes) {
		if three := &t.three[letters(pair[2:])]; *three == (Country{}) {
			*three = Country{pair[0], pair[1]}
		}
		t.two[letters(pair[:2])] = t.three[letters(pair[2:])]
	}
	return t
}

// letters returns the index of a code in its table, or -1 if it is not a code.
func letters[T ~string | ~[]byte](code T) int {
	n := 0
	for i := range len(code) {
		c := code[i] &^ 0x20
		if c < 'A' || c > 'Z' {
			return -1
		}
		n = n*26 + int(c-'A')
	}
	return n
}

// ParseCountry parses an alpha-2 or alpha-3 code in any letter case. It reports
// false for a code that no country has. It does not allocate.
func ParseCountry[T ~string | ~[]byte](code T) (Country, bool) {
	if len(code) != 2 && len(code) != 3 {
		return Country{}, false
	}
	i := letters(code)
	if i < 0 {
		return Country{}, false
	}
	c := countryOf.three[i%len(countryOf.three)]
	if len(code) == 2 {
		c = countryOf.two[i]
	}
	return c, c != (Country{})
}
