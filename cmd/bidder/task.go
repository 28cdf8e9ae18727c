package main

import (
	"context"
	"errors"
)

// task is a goroutine with an owner: stop ends it and waits for it.
type task struct {
	cancel context.CancelFunc
	done   chan error
}

// spawn starts fn with a context of its own, which only stop cancels, so that
// tasks end in order rather than all at once when the process gets a signal.
func spawn(fn func(context.Context) error) *task {
	ctx, cancel := context.WithCancel(context.Background())
	t := &task{cancel: cancel, done: make(chan error, 1)}
	go func() { t.done <- fn(ctx) }()
	return t
}

// stop ends the task and returns its error; nil for a task that was never started.
func (t *task) stop() error {
	if t == nil {
		return nil
	}
	t.cancel()
	if err := <-t.done; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
