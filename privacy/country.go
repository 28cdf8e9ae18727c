package privacy

import "strings"

// region is what a country means for the gate.
type region uint8

const (
	regionUnknown region = iota // no country, or none that exists
	regionOther
	regionGDPR
	regionUS
)

// countries are the codes of ISO 3166-1, alpha-2 and alpha-3 together, and the
// codes that are in use beside it: UK and EL (European Union), IC and EA (parts
// of Spain), XK (Kosovo).
const countries = `ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA AZAZE
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

// DefaultGDPRCountries are the countries where a request that says nothing of
// the GDPR is taken to be under it: the European Economic Area with the
// territories of members that are part of the Union and have codes of their
// own, the United Kingdom and Switzerland.
const DefaultGDPRCountries = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE " +
	"IS LI NO EU AX GP MQ GF RE YT MF GB CH"

// usCountries are the United States and the territories where its federal law
// holds.
const usCountries = "US PR GU VI AS MP UM"

// regions maps a country's code to its region.
type regions struct {
	alpha2 [26 * 26]region
	alpha3 [26 * 26 * 26]region
}

// newRegions fills the map; gdpr are codes of either length. Codes that do not
// exist are given back.
func newRegions(gdpr []string) (m *regions, unknown []string) {
	m = new(regions)
	three := make(map[string]string)
	for _, pair := range strings.Fields(countries) {
		three[pair[:2]] = pair[2:]
		three[pair[2:]] = pair[2:]
		m.set(pair[:2], regionOther)
		m.set(pair[2:], regionOther)
	}
	mark := func(code string, to region) {
		canonical, ok := three[strings.ToUpper(code)]
		if !ok {
			unknown = append(unknown, code)
			return
		}
		for alias, c := range three {
			if c == canonical {
				m.set(alias, to)
			}
		}
	}
	for _, code := range strings.Fields(usCountries) {
		mark(code, regionUS)
	}
	for _, code := range gdpr {
		mark(code, regionGDPR)
	}
	return m, unknown
}

func (m *regions) set(code string, to region) {
	if i := letters([]byte(code)); len(code) == 2 {
		m.alpha2[i] = to
	} else {
		m.alpha3[i] = to
	}
}

// of is the region of a country as a request writes it; letters of either case.
func (m *regions) of(code []byte) region {
	i := letters(code)
	switch {
	case i < 0:
		return regionUnknown
	case len(code) == 2:
		return m.alpha2[i]
	case len(code) == 3:
		return m.alpha3[i]
	}
	return regionUnknown
}

// letters is the number that two or three ASCII letters spell, -1 for anything
// else.
func letters(code []byte) int {
	if len(code) < 2 || len(code) > 3 {
		return -1
	}
	n := 0
	for _, c := range code {
		c |= 0x20
		if c < 'a' || c > 'z' {
			return -1
		}
		n = n*26 + int(c-'a')
	}
	return n
}
