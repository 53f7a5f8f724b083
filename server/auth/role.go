package auth

import (
	"fmt"
	"strings"
)

// Role is what a principal may do. Each role may do what the lesser ones may.
type Role uint8

// The roles in their order.
const (
	// None is no role at all: not authenticated.
	None Role = iota
	// Viewer reads, follows the route and reports what it has in force.
	Viewer
	// Operator steers: starts runs and answers them, switches, queues, gives signals, stops the machines.
	Operator
	// Admin declares what there is. Whoever may say where a credential is sent can read it, so this is the highest.
	Admin
)

var roleNames = [...]string{None: "none", Viewer: "viewer", Operator: "operator", Admin: "admin"}

// String returns the name in lower case.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Covers tells whether the role may do what needs the other one.
func (r Role) Covers(needed Role) bool { return r >= needed }

// ParseRole reads a role by its name: viewer, operator or admin.
func ParseRole(name string) (Role, error) {
	for r := Viewer; r <= Admin; r++ {
		if name == roleNames[r] {
			return r, nil
		}
	}
	return None, fmt.Errorf("unknown role %q: want one of %s", name, strings.Join(roleNames[Viewer:], ", "))
}

// Principal is an authenticated caller. The zero Principal is nobody.
type Principal struct {
	// Name as it stands in the audit.
	Name string
	// Role it has.
	Role Role
}
