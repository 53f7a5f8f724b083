package cli

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

func providerKind() resourceKind {
	wrap := func(p *jv1.Provider) *jv1.Resource {
		return &jv1.Resource{Kind: &jv1.Resource_Provider{Provider: p}}
	}
	return resourceKind{
		name: "provider", plural: "providers",
		page: func(ctx context.Context, api *api, size int32, token string) ([]*jv1.Resource, string, error) {
			res, err := api.ListProviders(ctx, &jv1.ListProvidersRequest{PageSize: size, PageToken: token})
			return convert(res.GetProviders(), wrap), res.GetNextPageToken(), err
		},
		get: func(ctx context.Context, api *api, name string) (*jv1.Resource, error) {
			p, err := api.GetProvider(ctx, &jv1.GetProviderRequest{Name: name})
			return wrap(p), err
		},
		list: func(r []*jv1.Resource) proto.Message {
			return &jv1.ListProvidersResponse{Providers: unwrap(r, (*jv1.Resource).GetProvider)}
		},
		columns: []column{
			{title: "PROVIDER"},
			{title: "VENDOR"},
			{title: "BASE_URL", elastic: true},
			{title: "CREDENTIAL"},
			{title: "CAPABILITIES", wide: true},
			{title: "AGE"},
		},
		cells: func(a *App, r *jv1.Resource) []string {
			p := r.GetProvider()
			return []string{
				p.GetName(), dash(p.GetVendor()), p.GetBaseUrl(), dash(p.GetCredential()),
				dash(strings.Join(p.GetCapabilities(), ",")), a.moment(p.GetUpdateTime()),
			}
		},
	}
}

func serviceKind() resourceKind {
	wrap := func(s *jv1.Service) *jv1.Resource {
		return &jv1.Resource{Kind: &jv1.Resource_Service{Service: s}}
	}
	return resourceKind{
		name: "service", plural: "services",
		page: func(ctx context.Context, api *api, size int32, token string) ([]*jv1.Resource, string, error) {
			res, err := api.ListServices(ctx, &jv1.ListServicesRequest{PageSize: size, PageToken: token})
			return convert(res.GetServices(), wrap), res.GetNextPageToken(), err
		},
		get: func(ctx context.Context, api *api, name string) (*jv1.Resource, error) {
			s, err := api.GetService(ctx, &jv1.GetServiceRequest{Name: name})
			return wrap(s), err
		},
		list: func(r []*jv1.Resource) proto.Message {
			return &jv1.ListServicesResponse{Services: unwrap(r, (*jv1.Resource).GetService)}
		},
		columns: []column{
			{title: "SERVICE"}, {title: "PROVIDERS", elastic: true}, {title: "NEEDS", wide: true}, {title: "FAILING_WHEN", wide: true}, {title: "AGE"},
		},
		cells: func(a *App, r *jv1.Resource) []string {
			s := r.GetService()
			return []string{
				s.GetName(), strings.Join(serviceProviders(s), ", "), dash(strings.Join(s.GetNeeds(), ",")), failingRule(s), a.moment(s.GetUpdateTime()),
			}
		},
	}
}

func serviceProviders(s *jv1.Service) []string {
	var out []string
	for _, p := range s.GetProviders() {
		out = append(out, p.GetName())
	}
	return out
}

// failingRule says in words when a provider of a service counts as failing.
func failingRule(s *jv1.Service) string {
	rule := s.GetHealth().GetFailing()
	var of []string
	for _, c := range rule.GetOf() {
		of = append(of, strings.ToLower(word(c)))
	}
	text := "two classes of evidence agree, or a majority of vantages"
	if n := rule.GetAgree(); n > 0 {
		text = count(int(n), "class of evidence agrees", "classes of evidence agree")
	}
	if len(of) > 0 {
		text += " (of " + strings.Join(of, ", ") + ")"
	}
	hold := "15s"
	if rule.GetFor() != nil {
		hold = rule.GetFor().AsDuration().String()
	}
	return text + " for " + hold
}

func detectorKind() resourceKind {
	wrap := func(d *jv1.Detector) *jv1.Resource {
		return &jv1.Resource{Kind: &jv1.Resource_Detector{Detector: d}}
	}
	return resourceKind{
		name: "detector", plural: "detectors",
		page: func(ctx context.Context, api *api, size int32, token string) ([]*jv1.Resource, string, error) {
			res, err := api.ListDetectors(ctx, &jv1.ListDetectorsRequest{PageSize: size, PageToken: token})
			return convert(res.GetDetectors(), wrap), res.GetNextPageToken(), err
		},
		get: func(ctx context.Context, api *api, name string) (*jv1.Resource, error) {
			d, err := api.GetDetector(ctx, &jv1.GetDetectorRequest{Name: name})
			return wrap(d), err
		},
		list: func(r []*jv1.Resource) proto.Message {
			return &jv1.ListDetectorsResponse{Detectors: unwrap(r, (*jv1.Resource).GetDetector)}
		},
		columns: []column{
			{title: "DETECTOR"}, {title: "KIND"}, {title: "SERVICE"}, {title: "PROVIDER"}, {title: "LOOKS_AT", elastic: true}, {title: "AGE"},
		},
		cells: func(a *App, r *jv1.Resource) []string {
			d := r.GetDetector()
			provider := d.GetProvider()
			if provider == "" {
				provider = "(each)"
			}
			return []string{d.GetName(), runbooks.DetectorKind(d), dash(d.GetService()), provider, dash(looksAt(d)), a.moment(d.GetUpdateTime())}
		},
	}
}

// looksAt says in a few words what a detector observes.
func looksAt(d *jv1.Detector) string {
	switch k := d.GetKind().(type) {
	case *jv1.Detector_Http:
		every := "15s"
		if k.Http.GetInterval() != nil {
			every = k.Http.GetInterval().AsDuration().String()
		}
		method := k.Http.GetMethod()
		if method == "" {
			method = "GET"
		}
		return strings.TrimSpace(method+" "+k.Http.GetPath()) + " every " + every
	case *jv1.Detector_Webhook:
		text := strings.ToLower(word(k.Webhook.GetFormat()))
		if n := k.Webhook.GetAlertname(); n != "" {
			text += " " + n
		}
		return text
	case *jv1.Detector_Passive:
		return fmt.Sprintf("%.0f%% of requests in %s", 100*k.Passive.GetErrorRatio(), k.Passive.GetWindow().AsDuration())
	case *jv1.Detector_Openai:
		return strings.ToLower(word(k.Openai.GetLevel()))
	case *jv1.Detector_StatusFeed:
		return k.StatusFeed.GetUrl()
	default:
		return ""
	}
}

func channelKind() resourceKind {
	wrap := func(c *jv1.Channel) *jv1.Resource {
		return &jv1.Resource{Kind: &jv1.Resource_Channel{Channel: c}}
	}
	return resourceKind{
		name: "channel", plural: "channels",
		page: func(ctx context.Context, api *api, size int32, token string) ([]*jv1.Resource, string, error) {
			res, err := api.ListChannels(ctx, &jv1.ListChannelsRequest{PageSize: size, PageToken: token})
			return convert(res.GetChannels(), wrap), res.GetNextPageToken(), err
		},
		get: func(ctx context.Context, api *api, name string) (*jv1.Resource, error) {
			c, err := api.GetChannel(ctx, &jv1.GetChannelRequest{Name: name})
			return wrap(c), err
		},
		list: func(r []*jv1.Resource) proto.Message {
			return &jv1.ListChannelsResponse{Channels: unwrap(r, (*jv1.Resource).GetChannel)}
		},
		columns: []column{{title: "CHANNEL"}, {title: "KIND"}, {title: "GOES_TO", elastic: true}, {title: "AGE"}},
		cells: func(a *App, r *jv1.Resource) []string {
			c := r.GetChannel()
			kind, to := channelTarget(c)
			return []string{c.GetName(), kind, dash(to), a.moment(c.GetUpdateTime())}
		},
	}
}

func channelTarget(c *jv1.Channel) (kind, to string) {
	switch k := c.GetKind().(type) {
	case *jv1.Channel_Webhook:
		return "webhook", k.Webhook.GetUrl()
	case *jv1.Channel_Slack:
		return "slack", k.Slack.GetUrl()
	case *jv1.Channel_Pagerduty:
		return "pagerduty", k.Pagerduty.GetRoutingKey()
	case *jv1.Channel_Log:
		return "log", "the server's log"
	default:
		return "-", ""
	}
}

func runbookKind() resourceKind {
	wrap := func(r *jv1.Runbook) *jv1.Resource {
		return &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: r}}
	}
	return resourceKind{
		name: "runbook", plural: "runbooks",
		page: func(ctx context.Context, api *api, size int32, token string) ([]*jv1.Resource, string, error) {
			res, err := api.ListRunbooks(ctx, &jv1.ListRunbooksRequest{PageSize: size, PageToken: token})
			return convert(res.GetRunbooks(), wrap), res.GetNextPageToken(), err
		},
		get: func(ctx context.Context, api *api, name string) (*jv1.Resource, error) {
			r, err := api.GetRunbook(ctx, &jv1.GetRunbookRequest{Name: name})
			return wrap(r), err
		},
		list: func(r []*jv1.Resource) proto.Message {
			return &jv1.ListRunbooksResponse{Runbooks: unwrap(r, (*jv1.Resource).GetRunbook)}
		},
		columns: []column{
			{title: "RUNBOOK"},
			{title: "SERVICES", elastic: true},
			{title: "STARTS_ON"},
			{title: "AUTOMATION"},
			{title: "STEPS", right: true},
			{title: "VERSION", right: true, wide: true},
			{title: "AGE"},
		},
		cells: func(a *App, r *jv1.Resource) []string {
			rb := r.GetRunbook()
			return []string{
				rb.GetName(), strings.Join(rb.GetServices(), ", "), startsOn(rb), automationLevel(rb),
				fmt.Sprint(len(rb.GetSteps())), fmt.Sprint(rb.GetVersion()), a.moment(rb.GetUpdateTime()),
			}
		},
	}
}

// startsOn says in words what starts a runbook.
func startsOn(rb *jv1.Runbook) string {
	on := rb.GetOn()
	if on == nil {
		return "request"
	}
	who := on.GetProvider()
	if who == "" {
		who = runbooks.DefaultOnProvider(on.GetHealth())
	}
	return strings.ToLower(word(on.GetHealth())) + " " + who
}

func automationLevel(rb *jv1.Runbook) string {
	level := strings.ToLower(word(rb.GetAutomation().GetDefault()))
	if level == "" {
		level = "propose"
	}
	if q := word(rb.GetAutomation().GetWhenQueueing()); q != "" && strings.ToLower(q) != level {
		level += " (queueing: " + strings.ToLower(q) + ")"
	}
	return level
}
