package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"rebound/internal/longrun"
	"rebound/loadtest"
)

// compareFlags are the flags of the command compare.
type compareFlags struct {
	attackFlags
	control         string
	pid, controlPID int
	conns, cpu      int
	rounds          int
	round           time.Duration
	report          string
}

// compare measures two servers in alternating rounds.
func compare(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := &compareFlags{attackFlags: attackFlags{rate: 20_000, duration: time.Second}}
	fs := newFlagSet("compare", stderr, "loadtest compare sends the same requests to two servers in alternating rounds, as fast as they answer, and compares the CPU time that a\n"+
		"request costs each of them, as the process table has it. Confine the servers to one core, and the sender to another.",
		"loadtest compare --target http://127.0.0.1:8080/openrtb2/demo --pid 1234 --control http://127.0.0.1:8090/ --control-pid 1235")
	f.trafficFlags(fs)
	fs.StringVar(&f.control, "control", "http://127.0.0.1:8090/", "the other server, such as loadtest floor or another build")
	fs.IntVar(&f.pid, "pid", 0, "process id of the server of --target")
	fs.IntVar(&f.controlPID, "control-pid", 0, "process id of the server of --control")
	fs.IntVar(&f.conns, "connections", 32, "number of connections")
	fs.IntVar(&f.cpu, "cpu", -1, "core on which the sender runs; -1: any")
	fs.IntVar(&f.rounds, "rounds", 7, "alternating rounds")
	fs.DurationVar(&f.round, "round", time.Second, "how long each server gets requests in a round")
	fs.StringVar(&f.report, "report", "", "write the result as JSON to this file")
	if status, done := parseFlags(fs, args, stderr); done {
		return status
	}
	if err := f.validateCompare(); err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitUsage
	}
	if err := f.run(ctx, stdout); err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	return exitDone
}

func (f *compareFlags) validateCompare() error {
	if err := f.check(); err != nil {
		return err
	}
	other := attackFlags{target: f.control, remote: f.remote, requests: "none", visitors: 1, products: 1, rate: 1, duration: time.Second, deadline: f.deadline}
	if err := other.check(); err != nil {
		return err
	}
	if f.pid < 1 || f.controlPID < 1 {
		return fmt.Errorf("cannot compare: got the process ids %d and %d; want --pid and --control-pid", f.pid, f.controlPID)
	}
	return nil
}

func (f *compareFlags) run(ctx context.Context, stdout io.Writer) error {
	a := f.attack()
	if err := f.prepare(ctx, a, nil); err != nil {
		return err
	}
	loop := loadtest.ClosedLoop{Target: f.target, Bodies: a.Bodies, Conns: f.conns, CPU: f.cpu, Now: time.Now, Check: loadtest.CheckResponse, CheckEvery: 500}
	control := loop
	control.Target, control.Check = f.control, nil
	c := loadtest.Comparison{Subject: loadtest.Side{Name: "target", Loop: loop, PID: f.pid}, Control: loadtest.Side{Name: "control", Loop: control, PID: f.controlPID},
		Rounds: f.rounds, Duration: f.round, Warmup: f.round / 5, Settle: 200 * time.Millisecond}
	r, err := c.Run(ctx)
	if err != nil {
		return err
	}
	if err := r.WriteText(stdout); err != nil {
		return err
	}
	return longrun.WriteFile(f.report, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	})
}
