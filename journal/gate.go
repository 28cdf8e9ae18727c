package journal

import (
	"context"
	"errors"
	"sync"
)

// errMending is what Append says while the embedded server is started anew.
var errMending = errors.New("the embedded server is being started anew")

// gate lets those in who use the engine, and keeps them out while it is started
// anew. It begins shut.
type gate struct {
	mu    sync.Mutex     // protects what follows
	ready chan struct{}  // closed while the engine may be used
	users sync.WaitGroup // those who are in
	leave context.CancelFunc
	stay  context.Context // of those who stay long: ends when they must leave
}

// lift lets users in.
func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ready == nil {
		g.ready = make(chan struct{})
	}
	g.stay, g.leave = context.WithCancel(context.Background())
	close(g.ready)
}

// shut keeps users out, asks those who stay long to leave, and waits until
// nobody is in.
func (g *gate) shut() {
	g.mu.Lock()
	if g.isOpen() {
		g.ready = make(chan struct{})
		g.leave()
	}
	g.mu.Unlock()
	g.users.Wait()
}

func (g *gate) isOpen() bool {
	select {
	case <-g.ready: // nil blocks
		return true
	default:
		return false
	}
}

// open tells whether the engine may be used.
func (g *gate) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.isOpen()
}

// enter lets a short use in: false while the gate is shut. users.Done ends it.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isOpen() {
		return false
	}
	g.users.Add(1)
	return true
}

// settle waits until the gate is open and lets a long use in: until the context
// that it returns ends. It ends with ctx too, and when the gate is shut. leave
// ends the use; nil says that ctx ended before.
func (g *gate) settle(ctx context.Context) (within context.Context, leave func()) {
	for ctx.Err() == nil {
		g.mu.Lock()
		if g.ready == nil {
			g.ready = make(chan struct{})
		}
		if g.isOpen() {
			within, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(g.stay, cancel)
			g.users.Add(1)
			g.mu.Unlock()
			return within, func() { stop(); cancel(); g.users.Done() }
		}
		ready := g.ready
		g.mu.Unlock()
		select {
		case <-ready:
		case <-ctx.Done():
		}
	}
	return nil, nil
}
