//go:build !linux

package demo

import "syscall"

// childAttributes are the default ones: only Linux can tie a child's life to ours.
func childAttributes() *syscall.SysProcAttr { return nil }
