//go:build !linux

package main

import "context"

// useHugePages does nothing: other systems choose the size of pages themselves.
func (a *app) useHugePages(context.Context) error { return nil }
