package apptest

import (
	"encoding/json"
	"strings"
	"testing"
)

// findsFaults holds a checker to a valid response and to every change of it.
func findsFaults(t *testing.T, request, good string, changes [][2]string) {
	t.Helper()
	var rq object
	if err := json.Unmarshal([]byte(request), &rq); err != nil {
		t.Fatal(err)
	}
	if wrong := checkResponse(rq, []byte(good)); len(wrong) > 0 {
		t.Fatalf("a good answer: %v", wrong)
	}
	for _, change := range changes {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good || len(checkResponse(rq, []byte(bad))) == 0 {
			t.Errorf("%s for %s was not found", change[1], change[0])
		}
	}
}

// answer is a response with one bid whose markup is text.
func answerWith(t *testing.T, members, markup string) string {
	t.Helper()
	adm, err := json.Marshal(markup)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(adm))
	return `{"id":"q","bidid":"b","cur":"USD","seatbid":[{"seat":"seat-1","bid":[{"id":"x","impid":"1","price":1.5,"adm":` + text +
		`,"adomain":["shop.example"],"cid":"c","crid":"r",` + members + `,"burl":"https://e.example/b?p=${AUCTION_PRICE}"}]}]}`
}

func TestCheckerFindsFaultsInFilms(t *testing.T) {
	film := answerWith(t, `"mtype":2,"protocol":3,"dur":15,"w":640,"h":360`, `<VAST version="3.0"><Ad><InLine><AdSystem>x</AdSystem><Impression><![CDATA[https://e.example/i]]></Impression>`+
		`<Creatives><Creative><Linear><Duration>00:00:15</Duration><MediaFiles><MediaFile type="video/mp4"><![CDATA[https://e.example/f.mp4]]></MediaFile></MediaFiles></Linear></Creative></Creatives></InLine></Ad></VAST>`)
	findsFaults(t, `{"id":"q","imp":[{"id":"1","secure":1,"video":{"mimes":["video/mp4"],"protocols":[2,3],"minduration":5,"maxduration":30,"battr":[16]}}]}`, film, [][2]string{
		{`</VAST>`, ``}, {`3.0`, `2.0`}, {`"protocol":3`, `"protocol":7`}, {`InLine>`, `Wrapper>`}, {`<AdSystem>x</AdSystem>`, ``},
		{`<Impression>`, `<Error>`}, {`video/mp4`, `video/webm`}, {`"dur":15`, `"dur":20`}, {`"dur":15,`, ``}, {`00:00:15`, `00:01:15`},
		{`https://e.example/i`, `http://e.example/i`}, {`https://e.example/i`, `https://e.example/%24%7BX}`}, {`"mtype":2`, `"mtype":3`}, {`"mtype":2`, `"mtype":2,"attr":[16]`},
	})
}

func TestCheckerFindsFaultsInNative(t *testing.T) {
	request := `{"id":"q","imp":[{"id":"1","secure":1,"native":{"request":"{\"assets\":[{\"id\":1,\"required\":1,\"title\":{\"len\":10}},{\"id\":2,\"required\":1,\"img\":{\"type\":3,\"wmin\":300,\"hmin\":200}},` +
		`{\"id\":3,\"data\":{\"type\":2,\"len\":5}}],\"eventtrackers\":[{\"event\":1,\"methods\":[1]}]}"}}]}`
	native := answerWith(t, `"mtype":4`, `{'link':{'url':'https://shop.example/'},'assets':[{'id':1,'title':{'text':'Très long'}},{'id':2,'img':{'url':'https://i.example/a','w':300,'h':250}},`+
		`{'id':3,'data':{'value':'short'}}],'eventtrackers':[{'event':1,'method':1,'url':'https://e.example/i'}]}`)
	native = strings.ReplaceAll(native, `'`, `\"`)
	findsFaults(t, request, native, [][2]string{
		{`\"url\":\"https://shop.example/\"`, ``}, {`Très long`, `Très long titre`}, {`\"text\":\"Très long\"`, `\"text\":\"\"`}, {`\"id\":1,`, `\"id\":9,`},
		{`{\"id\":1,\"title\":{\"text\":\"Très long\"}},`, ``}, {`\"w\":300`, `\"w\":299`}, {`https://i.`, `http://i.`}, {`short`, `too long`},
		{`\"event\":1`, `\"event\":2`}, {`\"method\":1`, `\"method\":2`}, {`\"img\"`, `\"video\"`}, {`"mtype":4`, `"mtype":4,"w":300,"h":250`},
		{`\"eventtrackers\"`, `\"imptrackers\":[\"https://e.example/i\"],\"eventtrackers\"`}, {`]}"`, `]"`},
	})
}
