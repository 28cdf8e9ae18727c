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

// spawn starts fn with a context of its own, which only stop ends: what must be
// finished in order does not end by itself when the process is told to.
func spawn(fn func(context.Context) error) *task {
	ctx, cancel := context.WithCancel(context.Background())
	t := &task{cancel: cancel, done: make(chan error, 1)}
	go func() { t.done <- fn(ctx) }()
	return t
}

// stop ends the task and says how it ended; a task that never began ended well.
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
