package mutants

// Mutant is a bug that is planted.
type Mutant struct {
	// Name says what is wrong.
	Name string
	// File is changed, relative to the root of the module.
	File string
	// Edits are made one after the other; the old text of each occurs exactly once.
	Edits []Edit
	// Package is tested, with the tests that match Run.
	Package, Run string
}

// Edit replaces one text by another.
type Edit struct{ Old, New string }

// The tests that stand for the campaigns of the engine: crashes at every boundary, random crashes, storms.
const crashes = "^(TestEveryCrashBoundary|TestCrashBoundariesOfPairsOfKinds|TestRandomCrashes|TestStorm)$"

// All returns every mutant.
func All() []Mutant {
	return append(append(ownership(), decisions()...), stores()...)
}

// ownership is about who may write a run, and about effects that must not be repeated.
func ownership() []Mutant {
	const (
		executor = "server/engine/executor.go"
		engine   = "./server/engine"
	)
	return []Mutant{
		{"a turn does not compare the run it was decided on", executor, []Edit{{
			"compares := []store.Compare{x.session.Fence(), store.Unchanged(rec.Key, rec.Mod)}", "compares := []store.Compare{x.session.Fence()}",
		}}, engine, "^TestWhatAHumanSays"},
		{"a dead replica's runs are left alone", "server/engine/dispatch.go", []Edit{{
			"(owns(session, r.Msg.GetOwner()) || !ownerLives(v, r.Msg.GetOwner()))", "owns(session, r.Msg.GetOwner())",
		}}, engine, crashes},
		{"whatever is stored is taken for one's own", "server/engine/record.go", []Edit{{
			"return value != nil && store.Open(value, &stored) == nil && stored.GetCommitId() == id", "return value != nil && store.Open(value, &stored) == nil",
		}}, engine, crashes},
		{"a call under way is taken for one that was made", "server/steps/http_request.go", []Edit{{
			"if runs.InFlight(in.At) {\n\t\treturn c.resume(in)\n\t}", "if runs.InFlight(in.At) {\n\t\treturn in.done(\"made\")\n\t}",
		}}, engine, crashes},
		{"the intent of a call is not stored", "server/steps/http_request.go", []Edit{{
			"m := Move{Then: Call, Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_INTENT, \"%s %s\", c.request.method, c.request.url), Call: c.make}",
			"m := Move{Then: Call, Event: in.event(jv1.RunEventKind_RUN_EVENT_KIND_CONDITION_CHANGED, \"%s %s\", c.request.method, c.request.url), Call: c.make}",
		}}, engine, crashes},
		{"every attempt has a key of its own", "server/steps/http_request.go", []Edit{{
			"last := runs.LastAttempt(in.At)", "c.request.key += store.NewID(\"x\", in.Desk.Now)\n\tlast := runs.LastAttempt(in.At)",
		}}, engine, crashes},
		{"a run's lock is not released", "server/engine/record.go", []Edit{{"w.Add(store.Delete(key))", "_ = key"}}, engine, crashes},
		{"a run that acts is superseded", "runbooks/runs/table.go", []Edit{{
			"func WaitsForHuman(run *jv1.Run) bool { return run.GetState() == waiting }",
			"func WaitsForHuman(run *jv1.Run) bool { return run.GetState() != compensating }",
		}}, engine, crashes + "|^TestARunThatActs"},
		{"the lock of a service is not looked at", "server/engine/start.go", []Edit{{
			"if holder == \"\" {\n\t\treturn nil, v, false", "if holder != \"\" || true {\n\t\treturn nil, v, false",
		}}, engine, crashes + "|^TestARunThatActs|^TestARunThatWaits"},
		{"what was done first is undone first", "runbooks/runs/undo.go", []Edit{{
			"ended(s) >= ended(run.GetSteps()[last])", "ended(s) < ended(run.GetSteps()[last])",
		}}, "./runbooks/runs", "."},
	}
}

// decisions are the guards and what keeps a decision to one run.
func decisions() []Mutant {
	const engine = "./server/engine"
	return []Mutant{
		{"the mark of an episode is not written", "server/engine/start.go", []Edit{{
			"s.desk.Add(store.Put(key, &recordv1.Episode{Run: name}))", "_ = key",
		}}, engine, crashes + "|^TestOneEpisode"},
		{"a trigger that is held back is forgotten", "server/engine/trigger.go", []Edit{{
			"case jv1.OutcomeState_OUTCOME_STATE_BLOCKED:\n\t\t\topen = true", "case jv1.OutcomeState_OUTCOME_STATE_BLOCKED:",
		}}, engine, "^TestAGuardHolds|^TestARunThatActs"},
		{"a cause is never gone", "server/engine/trigger.go", []Edit{{
			"if h.GetGeneration() == t.GetGeneration() && healthy == wantHealthy {", "if true || h.GetGeneration() == t.GetGeneration() && healthy == wantHealthy {",
		}}, engine, "^TestATriggerWhoseCause|^TestAProposalEnds|^TestStorm$"},
		{"epochs do not grow", "server/continuity/workspace.go", []Edit{{"w.next.Epoch++", "_ = w.next.Epoch"}}, engine, crashes},
		{"facts that were read are not compared", "server/continuity/workspace.go", []Edit{{
			"compares = append(compares, store.Unchanged(key, w.read[key]))", "_ = key",
		}}, engine, crashes + "|^TestMachinesSwitchNoMore|^TestAWindowIsCompared"},
		{"evidence never expires", "server/continuity/guard.go", []Edit{{"now.Before(s.GetValidUntil().AsTime())", "!now.IsZero()"}}, "./server/continuity", "."},
		{"a provider's own status page proves that it serves", "server/continuity/guard.go", []Edit{{
			"s.GetClass() != jv1.EvidenceClass_EVIDENCE_CLASS_PROVIDER_FEED && ", "",
		}}, "./server/continuity", "."},
		{"machines act although they are stopped", "server/steps/kind.go", []Edit{{
			"return in.Desk.CheckMachine(in.Run.GetName())", "return nil",
		}}, engine, "^TestARunningRunDoesNotOverrule|^TestStateStepsAreHeld"},
		{"runs start by themselves although machines are stopped", "server/engine/start.go", []Edit{{
			"if r := s.desk.CheckMachines(); r != nil {", "if r := s.desk.CheckMachines(); false && r != nil {",
		}}, engine, "^TestAGuardHolds|^TestMachinesDoNot"},
		{"a cooldown holds nothing back", "server/engine/start.go", []Edit{{
			"if r := cooling(s.desk, s.plan.Msg, s.trigger.GetProvider(), failing); r != nil {",
			"if r := cooling(s.desk, s.plan.Msg, s.trigger.GetProvider(), failing); false && r != nil {",
		}}, engine, "^TestCooldown"},
		{"a switch takes no slot", "server/continuity/limit.go", []Edit{{"w.read[slot.Key] = slot.Mod", "_ = slot.Mod"}}, engine, "^TestMachinesSwitchNoMore|^TestStorm$"},
		{"the deadline runs on while a human is waited for", "runbooks/runs/fold.go", []Edit{{
			"run.Deadline = later(run.GetDeadline())", "_ = later",
		}}, "./runbooks/runs", "."},
		{"a schedule's state is not compared", "server/schedule/fire.go", []Edit{
			{", store.Unchanged(key, at.state.Mod),", ","},
			{", store.Absent(store.TriggerKey(name)),\n\t\t\tstore.Absent(store.ArchivedTriggerKey(name)))", ")"},
		}, "./server/schedule", "."},
		{"the mark of the present episode is tidied away", "server/retention/episode.go", []Edit{{"return ok && generation < e[p]", "return ok && generation <= e[p]"}}, "./server/retention", "."},
		{"live runs are archived", "server/retention/archive.go", []Edit{{"if runs.Ended(rec.Msg.GetState()) {", "if true || runs.Ended(rec.Msg.GetState()) {"}}, "./server/retention", "."},
		{"a judgement does not compare the votes it counted", "server/detect/verdict.go", []Edit{{
			"b.compares = append(b.compares, store.Unchanged(key, revision))", "_ = revision",
		}}, "./server/detect", "."},
	}
}

// stores are about what is believed of the store.
func stores() []Mutant {
	return []Mutant{
		{"what was not found did not happen", "server/store/commit.go", []Edit{{
			"case over && txn.Witness != \"\":", "case txn.Witness != \"\" || over:",
		}}, "./server/store", "^TestCommit"},
		{"what was written cannot be recognised", "server/store/commit.go", []Edit{{
			"if !txn.Mine(e.Value) {", "if true || !txn.Mine(e.Value) {",
		}}, "./server/store", "^TestCommit"},
		{"an unknown outcome is a failure", "server/store/commit.go", []Edit{{
			"case errors.Is(err, ErrUnknown):\n\t\t\tif unknown == nil {", "case errors.Is(err, ErrUnknown):\n\t\t\tif true {\n\t\t\t\treturn Result{}, nil\n\t\t\t}\n\t\t\tif unknown == nil {",
		}}, "./server/store", "^TestCommit"},
		{"after a compaction it is watched on from where it was", "server/store/watch.go", []Edit{{
			"if errors.Is(err, ErrCompacted) || ", "if ",
		}}, "./server/store", "^(TestCompactionIsBridgedByAList|TestForeignRevisionsAreReached|TestMirrorFollowsTheStore)$"},
		{"a session is opened although its key is there", "server/store/session.go", []Edit{
			{"If:      []Compare{Absent(op.Key)},", "If:      nil,"},
			{"op := PutLeased(key(Sessions, opts.Replica, hex.EncodeToString(chance[:])),", "op := PutLeased(key(Sessions, opts.Replica, hex.EncodeToString(chance[:0])+\"x\"),"},
		}, "./server/store", "^Test.*(Session|Keeper)"},
		{"deliveries are not fenced", "server/notify/attempt.go", []Edit{
			{"session.Fence(), store.Unchanged(j.entry.key, j.entry.mod), store.Unchanged(delivery, claimed),", "store.Absent(session.Key + \"x\"),"},
		}, "./server/notify", "^Test(Crash|Restart|Replicas|Session|Late|Receipts|Own|Unclaimed|Entry)"},
	}
}
