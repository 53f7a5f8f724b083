package detect

import (
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// Limits of the evidence that is kept with a health record and its trigger: in all less than 64 KiB.
const (
	maxEvidence        = 24
	maxEvidenceSummary = 300
	maxEvidenceLabels  = 8
	maxEvidenceName    = 64
	maxEvidenceValue   = 128
)

// evidence is what is kept of the counted signals: the failing ones first, shortened copies.
func evidence(counted []*jv1.Signal) []*jv1.Signal {
	if len(counted) == 0 {
		return nil
	}
	order := slices.Clone(counted)
	slices.SortStableFunc(order, func(a, b *jv1.Signal) int { return int(voiceOf(b)) - int(voiceOf(a)) })
	order = order[:min(len(order), maxEvidence)]
	for i, s := range order {
		s = proto.CloneOf(s)
		s.Summary = cut(s.GetSummary(), maxEvidenceSummary)
		labels := firstLabels(s.GetLabels(), maxEvidenceLabels)
		s.Labels = make(map[string]string, len(labels))
		for name, value := range labels {
			s.Labels[cut(name, maxEvidenceName)] = cut(value, maxEvidenceValue)
		}
		order[i] = s
	}
	return order
}

// firstLabels keeps at most n labels, the first by name.
func firstLabels(labels map[string]string, n int) map[string]string {
	if len(labels) <= n {
		return labels
	}
	names := make([]string, 0, len(labels))
	for name := range labels {
		names = append(names, name)
	}
	slices.Sort(names)
	kept := make(map[string]string, n)
	for _, name := range names[:n] {
		kept[name] = labels[name]
	}
	return kept
}

// cut shortens text to at most n bytes without splitting a character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
