package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"rebound/internal/cli"
)

// keyEnv names the variable that holds an advertiser's key.
const keyEnv = "REBOUND_KEY"

// apiClient calls a running bidder.
type apiClient struct {
	base string // http://host:port
	key  string
}

// call makes a request and returns the response of a status below 300.
func (c *apiClient) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	rq, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("cannot call %s: %w", c.base, err)
	}
	if c.key != "" {
		rq.Header.Set("Authorization", "Bearer "+c.key)
	}
	rs, err := http.DefaultClient.Do(rq)
	if err != nil {
		return nil, fmt.Errorf("cannot call the bidder: %w", err)
	}
	defer rs.Body.Close()
	text, err := io.ReadAll(rs.Body)
	if err != nil {
		return nil, fmt.Errorf("cannot read response of the bidder: %w", err)
	}
	if rs.StatusCode >= 300 {
		return nil, fmt.Errorf("cannot %s %s: got status %d: %s", strings.ToLower(method), path, rs.StatusCode, strings.TrimSpace(string(text)))
	}
	return text, nil
}

// listVerb runs "list upload" and "list status".
func (p *program) listVerb(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == "upload" {
		return p.uploadList(ctx, args[1:])
	}
	if len(args) > 0 && args[0] == "status" {
		return p.listStatus(ctx, args[1:])
	}
	fmt.Fprintln(p.stderr, "list: want list upload ID FILE or list status JOB")
	return cli.ExitUsage
}

func (p *program) uploadList(ctx context.Context, args []string) int {
	fs := p.flags("list")
	edge := fs.String("edge", "http://127.0.0.1:8081", "`URL` of the edge listener")
	mode := fs.String("mode", "append", "`mode`: append, replace or remove")
	country := fs.String("country", "", "`code` of the country of national phone numbers")
	consent := fs.Bool("consent-granted", false, "make the list, or change its settings: the persons on it agreed to its use for advertising")
	purpose := fs.String("purpose", "target", "`purpose` of a list that is made: target or suppress")
	norm := fs.String("norm", "std", "`form` in which its e-mail addresses were hashed: std or uid2")
	ttl := fs.String("ttl", "540d", "how long a row of a list that is made counts")
	wait := fs.Bool("wait", true, "wait for the end of the job and print its report")
	id, file, status, done := p.parseTwo(fs, args)
	if done {
		return status
	}
	body, err := readInput(file)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	key, _ := p.getenv(keyEnv)
	c := &apiClient{base: strings.TrimSuffix(*edge, "/"), key: key}
	if *consent || *purpose == "suppress" {
		settings := map[string]string{"norm": *norm, "purpose": *purpose, "ttl": *ttl}
		if *consent {
			settings["consent"] = "granted"
		}
		text, err := json.Marshal(settings)
		if err == nil {
			_, err = c.call(ctx, http.MethodPut, "/v1/lists/"+url.PathEscape(id), text)
		}
		if err != nil {
			fmt.Fprintln(p.stderr, err)
			return cli.ExitFailed
		}
	}
	query := url.Values{"mode": {*mode}}
	if *country != "" {
		query.Set("country", *country)
	}
	text, err := c.upload(ctx, "/v1/lists/"+url.PathEscape(id)+"/members?"+query.Encode(), body)
	var job struct {
		Job string `json:"job"`
	}
	if err == nil {
		err = json.Unmarshal(text, &job)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	if !*wait {
		fmt.Fprintln(p.stdout, job.Job)
		return cli.ExitDone
	}
	return p.awaitJob(ctx, c, job.Job)
}

// upload posts a file. A list that was just made may not be known for a moment, until the
// log is folded.
func (c *apiClient) upload(ctx context.Context, path string, body []byte) ([]byte, error) {
	for i := 0; ; i++ {
		text, err := c.call(ctx, http.MethodPost, path, body)
		if err == nil || i == 20 || !strings.Contains(err.Error(), `"no_list"`) {
			return text, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *program) listStatus(ctx context.Context, args []string) int {
	fs := p.flags("list")
	edge := fs.String("edge", "http://127.0.0.1:8081", "`URL` of the edge listener")
	job, _, status, done := p.parseNames(fs, args, "JOB")
	if done {
		return status
	}
	key, _ := p.getenv(keyEnv)
	c := &apiClient{base: strings.TrimSuffix(*edge, "/"), key: key}
	text, err := c.call(ctx, http.MethodGet, "/v1/jobs/"+url.PathEscape(job), nil)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	fmt.Fprintln(p.stdout, strings.TrimSpace(string(text)))
	return cli.ExitDone
}

// awaitJob prints the report of a job at its end. The exit status is 1 unless it is done.
func (p *program) awaitJob(ctx context.Context, c *apiClient, job string) int {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := c.call(ctx, http.MethodGet, "/v1/jobs/"+job, nil)
		var r struct {
			State string `json:"state"`
			Rows  int64  `json:"rows"`
		}
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			fmt.Fprintln(p.stderr, err)
			return cli.ExitFailed
		}
		if isTerminal(p.stderr) {
			fmt.Fprintf(p.stderr, "\r%s: %d rows", r.State, r.Rows)
		}
		if r.State != "waiting" && r.State != "running" {
			fmt.Fprintln(p.stdout, strings.TrimSpace(string(text)))
			if r.State != "done" {
				return cli.ExitFailed
			}
			return cli.ExitDone
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return cli.ExitFailed
		}
	}
}

func readInput(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(os.Stdin)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read file: %w", err)
	}
	return b, nil
}
