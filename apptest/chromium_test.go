package apptest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// chromium is a headless Chromium that the test drives over the DevTools protocol,
// through pipes: no port and no library is needed.
type chromium struct {
	t       *testing.T
	Version string
	session string // of the page

	to pipeEnd
	mu sync.Mutex // guards the following fields

	last     int
	replies  map[int]chan map[string]any
	requests []browserRequest
	console  []string
	loaded   int // pages that finished loading
}

// pipeEnd is the end of the pipe that commands are written to.
type pipeEnd interface {
	Write([]byte) (int, error)
	Close() error
}

// browserRequest is a request that the browser sent.
type browserRequest struct{ method, url, body string }

// chromiumPath returns the installed Chromium. Without one, it is installed from Debian's
// packages where that is possible; only a CI run is skipped.
func chromiumPath(t *testing.T) string {
	t.Helper()
	find := func() string {
		for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
			if p, err := exec.LookPath(name); name != "" && err == nil {
				return p
			}
		}
		return ""
	}
	if p := find(); p != "" {
		return p
	}
	if os.Getenv("CI") != "" {
		t.Skip("no Chromium on this runner: the browser is tested before a release, where apptest/testdata/chromium.sh installs it")
	}
	if out, err := exec.Command("testdata/chromium.sh").CombinedOutput(); err != nil {
		t.Fatalf("cannot test tag.js in a browser: install Chromium, or name it in CHROMIUM: %v\n%s", err, out)
	}
	return find()
}

// userAgent is that of the same browser with a window; its own begins with Headless,
// which is a robot's.
const userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36"

// startChromium starts a browser with an empty profile. hosts maps host names to the
// addresses that serve them.
func startChromium(t *testing.T, hosts map[string]string, args ...string) *chromium {
	t.Helper()
	rules := make([]string, 0, len(hosts))
	for name, addr := range hosts {
		rules = append(rules, "MAP "+name+":443 "+addr)
	}
	args = append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--ignore-certificate-errors", "--remote-debugging-pipe", "--user-data-dir=" + t.TempDir(),
		"--user-agent=" + userAgent, "--host-resolver-rules=" + strings.Join(rules, ","),
	}, args...)
	cmd := exec.Command(chromiumPath(t), args...)
	theirIn, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	c := &chromium{t: t, to: to, replies: map[int]chan map[string]any{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.read(from)
	}()
	t.Cleanup(func() {
		// Killed, it would leave processes behind that still write its profile.
		_, _ = to.WriteString(`{"id":0,"method":"Browser.close"}` + "\x00")
		slow := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		slow.Stop()
		to.Close()
		from.Close()
		<-ended
	})
	c.Version = str(c.do("Browser.getVersion", nil)["product"])
	target := c.do("Target.createTarget", map[string]any{"url": "about:blank"})
	c.session = str(c.do("Target.attachToTarget", map[string]any{"targetId": target["targetId"], "flatten": true})["sessionId"])
	for _, domain := range []string{"Page", "Network", "Runtime"} {
		c.do(domain+".enable", nil)
	}
	return c
}

// read takes the messages of the browser until it ends.
func (c *chromium) read(from *os.File) {
	s := bufio.NewReader(from)
	for {
		b, err := s.ReadBytes(0)
		if err != nil {
			return
		}
		var m map[string]any
		if json.Unmarshal(bytes.TrimSuffix(b, []byte{0}), &m) == nil {
			c.take(m)
		}
	}
}

func (c *chromium) take(m map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok := num(m["id"]); ok {
		if ch := c.replies[int(id)]; ch != nil {
			delete(c.replies, int(id))
			ch <- m
		}
		return
	}
	p := obj(m["params"])
	switch m["method"] {
	case "Network.requestWillBeSent":
		r := obj(p["request"])
		c.requests = append(c.requests, browserRequest{str(r["method"]), str(r["url"]), str(r["postData"])})
	case "Runtime.consoleAPICalled":
		var line []string
		for _, a := range list(p["args"]) {
			b, _ := json.Marshal(obj(a))
			line = append(line, string(b))
		}
		c.console = append(c.console, strings.Join(line, " "))
	case "Runtime.exceptionThrown":
		b, _ := json.Marshal(p)
		c.console = append(c.console, "exception: "+string(b))
	case "Page.loadEventFired":
		c.loaded++
	}
}

// do sends a command and returns its result.
func (c *chromium) do(method string, params map[string]any) map[string]any {
	c.t.Helper()
	c.mu.Lock()
	c.last++
	id, reply := c.last, make(chan map[string]any, 1)
	c.replies[id] = reply
	c.mu.Unlock()
	m := map[string]any{"id": id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if c.session != "" {
		m["sessionId"] = c.session
	}
	b, err := json.Marshal(m)
	if err == nil {
		_, err = c.to.Write(append(b, 0))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	select {
	case r := <-reply:
		if e := obj(r["error"]); len(e) > 0 {
			c.t.Fatalf("%s: %v", method, e)
		}
		return obj(r["result"])
	case <-time.After(60 * time.Second):
		c.t.Fatalf("%s: no reply from the browser", method)
	}
	return nil
}

// open loads a page and waits until it has loaded.
func (c *chromium) open(url string) {
	c.t.Helper()
	c.mu.Lock()
	before := c.loaded
	c.mu.Unlock()
	if e := str(c.do("Page.navigate", map[string]any{"url": url})["errorText"]); e != "" {
		c.t.Fatalf("%s: %s", url, e)
	}
	within(c.t, patience, "the page has loaded", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.loaded > before
	})
}

// eval evaluates an expression in the page and returns its value; a promise is awaited.
func (c *chromium) eval(expression string) any {
	c.t.Helper()
	r := c.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true})
	if e := obj(r["exceptionDetails"]); len(e) > 0 {
		c.t.Fatalf("%s: %v", expression, e)
	}
	return obj(r["result"])["value"]
}

// rest lets the page run for longer than the tag waits for consent.
func (c *chromium) rest() { c.eval("new Promise(r => setTimeout(r, 800))") }

// sent returns the requests whose URL contains part.
func (c *chromium) sent(part string) (out []browserRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		if strings.Contains(r.url, part) {
			out = append(out, r)
		}
	}
	return out
}

// beacons returns the requests with events of the tag.
func (c *chromium) beacons() (out []browserRequest) {
	for _, r := range c.sent("/v1/t") {
		if !strings.Contains(r.url, "/v1/tag.js") {
			out = append(out, r)
		}
	}
	return out
}

func (c *chromium) consoleText() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.console, "\n")
}

// awaitCookie waits until the browser has a cookie: the server counts an event before its
// response, which sets the cookie, has arrived.
func (c *chromium) awaitCookie(url, name string) (k map[string]any) {
	c.t.Helper()
	within(c.t, patience, "the cookie "+name, func() bool {
		k = c.cookie(url, name)
		return k != nil
	})
	return k
}

// cookie returns a cookie of a URL, HttpOnly ones too, or nil.
func (c *chromium) cookie(url, name string) map[string]any {
	c.t.Helper()
	for _, k := range list(c.do("Network.getCookies", map[string]any{"urls": []string{url}})["cookies"]) {
		if k := obj(k); k["name"] == name {
			return k
		}
	}
	return nil
}

func (c *chromium) String() string { return fmt.Sprintf("%s, headless", c.Version) }
