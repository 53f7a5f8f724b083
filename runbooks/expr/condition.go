package expr

// Condition is a compiled condition of a step. Immutable and safe for concurrent use.
type Condition struct {
	program *program
}

// Compile compiles a condition of a step. A reference to a step, an output or a parameter that is not in the scope is
// refused, and so is a comparison that its types don't allow. The error is an *Error. The scope must not be changed
// afterwards.
func Compile(src string, scope Scope) (*Condition, error) {
	env, err := conditionEnv(scope)
	if err != nil {
		return nil, newError([]Problem{{Line: 1, Column: 1, Message: err.Error()}})
	}
	l := language{env: env, variables: conditionVariables, scope: scope, refuses: unlessBool}
	p, err := l.compile(src)
	if err != nil {
		return nil, err
	}
	return &Condition{program: p}, nil
}

// Eval tells whether the condition holds. An error means that the facts don't answer it, e.g. because a provider it
// names is not in `health`, or that it cost too much (ErrTooExpensive); it is neither true nor false then.
func (c *Condition) Eval(facts Facts) (bool, error) {
	return c.program.holds(activation{facts: &facts})
}

// String returns the source.
func (c *Condition) String() string { return c.program.src }

// Reads tells whether the condition asks for a variable, e.g. `health`, so that only facts it rests on need to be
// gathered, watched and compared.
func (c *Condition) Reads(variable string) bool { return reads(c.program.tree, variable) }

// Keys lists the constant keys by which the condition reads `steps`, `params`, `health` or another map, sorted. A key
// that is computed is not among them.
func (c *Condition) Keys(variable string) []string { return keysOf(c.program.tree, variable) }
