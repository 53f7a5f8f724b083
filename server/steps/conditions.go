package steps

import (
	"fmt"
	"sync"

	"github.com/jurymast/jurymast/runbooks/expr"
)

// maxConditions bounds what is kept; beyond it everything is forgotten and compiled anew.
const maxConditions = 1000

// Conditions keeps compiled conditions, so that a step that waits does not compile its own at every change. The zero
// value is ready. Safe for concurrent use.
type Conditions struct {
	mu       sync.Mutex
	compiled map[string]*expr.Condition
}

// Holds evaluates the step's `if`. A step without one runs always.
func (c *Conditions) Holds(in *Input) (bool, error) {
	if in.Step.GetIf() == "" {
		return true, nil
	}
	return c.holds(in, in.Step.GetIf())
}

func (c *Conditions) holds(in *Input, src string) (bool, error) {
	cond, err := c.compile(in, src)
	if err != nil {
		return false, err
	}
	return cond.Eval(in.Facts())
}

func (c *Conditions) compile(in *Input, src string) (*expr.Condition, error) {
	plan := in.Frame().Plan
	key := fmt.Sprintf("%s/%d/%s", plan.GetName(), plan.GetVersion(), src)
	c.mu.Lock()
	defer c.mu.Unlock()
	if cond, ok := c.compiled[key]; ok {
		return cond, nil
	}
	cond, err := expr.Compile(src, in.Tree.Scope(in.Node))
	if err != nil {
		return nil, err
	}
	if c.compiled == nil || len(c.compiled) >= maxConditions {
		c.compiled = map[string]*expr.Condition{}
	}
	c.compiled[key] = cond
	return cond, nil
}
