package loadtest

import (
	"fmt"
	"os/exec"
	"runtime"
	"time"
)

// Usage is what a process has used since it started.
type Usage struct {
	User, System time.Duration // CPU time
	Resident     int64         // bytes of memory now
}

// CPU returns the CPU time in user and kernel mode.
func (u Usage) CPU() time.Duration { return u.User + u.System }

// StartPinned starts a command whose process is confined to one core; negative: any.
// On operating systems other than Linux every core is used.
func StartPinned(cmd *exec.Cmd, cpu int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cpu >= 0 {
		restore, err := pinThread(cpu)
		if err != nil {
			return err
		}
		defer restore()
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", cmd.Path, err)
	}
	return nil
}
