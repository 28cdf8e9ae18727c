//go:build linux

package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// benchServer is the environment variable that makes the test binary a server, whose value
// names the variant.
const benchServer = "REBOUND_BENCH_SERVER"

// BenchmarkLoop measures the CPU time per request of three servers in processes of their
// own with one processor each, in alternating rounds: a bare handler of the HTTP library,
// the listener with the library, and the listener with the event loop. 32 connections send
// 2 KB and receive 0.9 KB. b.N is the number of requests of each round and server.
func BenchmarkLoop(b *testing.B) {
	const rounds = 15
	servers := map[string]*benchChild{}
	for _, name := range []string{"bare", "library", "loop"} {
		servers[name] = startChild(b, name, 1)
	}
	best := map[string]time.Duration{}
	for range rounds {
		for name, s := range servers {
			if d := s.measure(b, b.N); best[name] == 0 || d < best[name] {
				best[name] = d
			}
		}
	}
	for name, d := range best {
		b.ReportMetric(float64(d.Nanoseconds())/1000, name+"-us/op")
		if name != "bare" {
			b.ReportMetric(float64(d)/float64(best["bare"]), name+"-ratio")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// benchChild is a server in a process of its own.
type benchChild struct {
	addr string
	in   io.Writer
	out  *bufio.Reader
}

func startChild(b *testing.B, variant string, procs int) *benchChild {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), benchServer+"="+variant, fmt.Sprintf("GOMAXPROCS=%d", procs))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	c := &benchChild{in: in, out: bufio.NewReader(out)}
	c.addr = c.line(b)
	return c
}

func (c *benchChild) line(b *testing.B) string {
	s, err := c.out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// cpu returns the CPU time that the server has used.
func (c *benchChild) cpu(b *testing.B) time.Duration {
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseInt(c.line(b), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(n)
}

// measure sends n requests over 32 connections and returns the CPU time of one.
func (c *benchChild) measure(b *testing.B, n int) time.Duration {
	body := strings.Repeat("x", 2000)
	request := fmt.Sprintf("POST /openrtb2/demo HTTP/1.1\r\nHost: bidder.example:8080\r\nUser-Agent: exchange/1.0\r\nContent-Type: application/json\r\n"+
		"X-Openrtb-Version: 2.6\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	before := c.cpu(b)
	exchangeAll(b, c.addr, []byte(request), n)
	return (c.cpu(b) - before) / time.Duration(n)
}

// exchangeAll sends n requests over 32 connections, over system calls of its own: a client
// that is slower than the server would measure how processors are woken.
func exchangeAll(b *testing.B, addr string, request []byte, n int) {
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(epoll)
	answer := make([]byte, 16<<10)
	sent := 0
	for range min(32, n) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		f, err := conn.(*net.TCPConn).File()
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		fd := int(f.Fd())
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
		if _, errno := writeSocket(fd, request); errno != 0 {
			b.Fatal(errno)
		}
		sent++
	}
	var events [128]unix.EpollEvent
	for got := 0; got < n; {
		ready, errno := epollWait(epoll, events[:])
		if errno != 0 {
			b.Fatal(errno)
		}
		if ready == 0 {
			runtime.Gosched()
		}
		for _, e := range events[:ready] {
			m, errno := readSocket(int(e.Fd), answer)
			if errno != 0 || m < 15 || string(answer[:15]) != "HTTP/1.1 200 OK" {
				b.Fatalf("got %q, %v; want an answer", answer[:m], errno)
			}
			got++
			if sent < n {
				sent++
				if _, errno := writeSocket(int(e.Fd), request); errno != 0 {
					b.Fatal(errno)
				}
			}
		}
	}
}

// serveBenchmark is the main function of the server's process.
func serveBenchmark(variant string) {
	answer := []byte(`{"id":"` + strings.Repeat("y", 900) + `"}`)
	handler := func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/json")
		ctx.SetBody(answer)
	}
	ln, err := Bind("bench", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if variant == "bare" {
		go func() { _ = fasthttp.Serve(ln, handler) }()
	} else {
		var r Routes
		r.Handle("POST", "/openrtb2/*", handler)
		Serve(Spec{Name: "bench", Handler: r.Serve, Loop: variant == "loop"}, ln)
	}
	fmt.Println(ln.Addr())
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return
		}
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		fmt.Println(u.Utime.Nano() + u.Stime.Nano())
	}
}
