package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rebound/loadtest"
)

// server is a program under measurement.
type server struct {
	cmd   *exec.Cmd
	addr  map[string]string // of the line that it logs once it is ready
	lines chan string       // of standard error, until ready
	ended chan struct{}
	tail  []string // last lines before it was ready; owned by start
}

// startTime bounds how long a program may take until it is ready.
const startTime = 3 * time.Minute

// start starts a program on one core with GOMAXPROCS=1 and waits for a JSON line on
// standard error whose msg is ready.
func start(ctx context.Context, cpu int, path string, args ...string) (*server, error) {
	s := &server{cmd: exec.Command(path, args...), lines: make(chan string, 64), ended: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", path, err)
	}
	if err := loadtest.StartPinned(s.cmd, cpu); err != nil {
		return nil, err
	}
	go s.read(stderr)
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// read reads standard error until the program ends. Lines after the first are dropped
// unless ready waits for them.
func (s *server) read(r io.Reader) {
	defer close(s.ended)
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), 4<<20)
	for in.Scan() {
		select {
		case s.lines <- in.Text():
		default:
		}
	}
	_ = s.cmd.Wait() // the exit status does not matter: the program is ended by stop
}

func (s *server) ready(ctx context.Context) error {
	limit := time.NewTimer(startTime)
	defer limit.Stop()
	for {
		select {
		case line := <-s.lines:
			var m map[string]any
			if json.Unmarshal([]byte(line), &m) != nil || m["msg"] != "ready" {
				if m["msg"] != nil {
					line = fmt.Sprint(m["msg"], " ", m["error"])
				}
				if s.tail = append(s.tail, line); len(s.tail) > 3 {
					s.tail = s.tail[1:]
				}
				continue
			}
			s.addr = map[string]string{}
			for k, v := range m {
				if text, ok := v.(string); ok {
					s.addr[k] = text
				}
			}
			return nil
		case <-s.ended:
			return fmt.Errorf("cannot start %s: it ended: %s", s.cmd.Path, strings.Join(s.tail, "; "))
		case <-limit.C:
			return fmt.Errorf("cannot start %s: not ready after %s: %s", s.cmd.Path, startTime, strings.Join(s.tail, "; "))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop asks the program to end, and kills it if it takes longer than 20 s.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot stop %s: %w", s.cmd.Path, err)
	}
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	select {
	case <-s.ended:
		return nil
	case <-limit.C:
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("cannot stop %s: still running 20 s after SIGTERM", s.cmd.Path)
	}
}

// metrics are the series of a bidder, by name with labels.
type metrics map[string]float64

// readMetrics reads /metrics of the admin listener.
func readMetrics(ctx context.Context, admin string) (metrics, error) {
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	rs, err := http.DefaultClient.Do(rq)
	if err != nil {
		return nil, fmt.Errorf("cannot read metrics: %w", err)
	}
	defer rs.Body.Close()
	m := metrics{}
	in := bufio.NewScanner(rs.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		name, value, ok := strings.Cut(in.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			m[name] = v
		}
	}
	return m, in.Err()
}

// sum adds up the series of a metric.
func (m metrics) sum(name string) (total float64) {
	for series, v := range m {
		if series == name || strings.HasPrefix(series, name+"{") {
			total += v
		}
	}
	return total
}

// since returns how much the sum of a metric has grown since before.
func (m metrics) since(before metrics, name string) float64 { return m.sum(name) - before.sum(name) }
