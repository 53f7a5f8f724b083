package runs

import jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"

// Answers lists the command lines by which a human answers a run that waits for what is given. Empty: it asks nothing.
func Answers(wait jv1.RunWait, run string) []string {
	switch wait {
	case jv1.RunWait_RUN_WAIT_APPROVAL:
		return []string{"jurymast approve " + run + " --reason '...'", "jurymast reject " + run + " --reason '...'"}
	case jv1.RunWait_RUN_WAIT_OUTCOME_UNKNOWN:
		return []string{"jurymast run resume " + run + " --outcome succeeded|failed|repeat --reason '...'"}
	case jv1.RunWait_RUN_WAIT_RESUME:
		return []string{"jurymast run resume " + run + " --reason '...'", "jurymast run cancel " + run + " --reason '...'"}
	default:
		return nil
	}
}
