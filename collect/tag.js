// Rebound's tag. A page loads it as
//   <script async src="https://<edge>/v1/tag.js?a=<advertiser>" data-shim="dataLayer,fbq,criteo_q"></script>
// and calls rt('event', name, params), rt('identify', {em, ph, xid}), rt('consent', {...}) or rt('optout').
// It is served without comments and indentation; VENDOR is our id in the Global Vendor List.
(function (w, d, n) {
	var s = d.currentScript || d.querySelector('script[src*="/v1/tag.js"]'), src = new URL(s.src), edge = src.origin,
		adv = src.searchParams.get('a'), opt = s.dataset, debug = 'debug' in opt || /[?&]rt_debug=1/.test(location.search),
		consent = {}, tcf = 0, gpp = 0, usp = 0, late = 0, out = 0, queue = [], hashing = 0, first = 1, busy = 0, who = {},
		WAIT = 1, MAY = 2, REFUSED = 3;
	if (w.rt && w.rt.on) return;

	function log() { if (debug) console.log.apply(console, ['[rebound]'].concat([].slice.call(arguments))); }

	// may is 1 if events may be sent, 0 if the visitor has not decided yet, -1 if they refused.
	function may() {
		if (out || n.globalPrivacyControl || tcf == REFUSED) return -1;
		if (tcf == WAIT || gpp == WAIT || d.prerendering) return 0;
		return tcf || gpp || usp || late && opt.consent != 'required' ? 1 : 0;
	}

	// The consent platforms of the page: those that are there are waited for, however long
	// the visitor takes. Without any, events are sent after 500 ms.
	function listen() {
		if (!tcf && w.__tcfapi) {
			tcf = WAIT;
			w.__tcfapi('addEventListener', 2, function (t, ok) {
				if (!ok || t.gdprApplies !== false && t.eventStatus != 'tcloaded' && t.eventStatus != 'useractioncomplete') return;
				consent.gdpr = t.gdprApplies === false ? 0 : 1;
				consent.tc = t.tcString;
				var p = (t.purpose || {}).consents || {}, v = (t.vendor || {}).consents || {};
				tcf = !consent.gdpr || p[1] && p[3] && v[VENDOR] ? MAY : REFUSED;
				flush();
			});
		}
		if (!gpp && w.__gpp) {
			gpp = WAIT;
			w.__gpp('addEventListener', function (e) {
				var p = e && e.pingData || {};
				if (p.signalStatus != 'ready') return;
				consent.gpp = p.gppString;
				consent.gpp_sid = p.applicableSections;
				gpp = MAY;
				flush();
			});
		}
		if (!usp && w.__uspapi) {
			w.__uspapi('getUSPData', 1, function (u, ok) {
				if (ok && u) { consent.us_privacy = u.uspString; usp = MAY; flush(); }
			});
		}
	}

	// address removes what looks like an e-mail address from a URL.
	function address(u) { return (u || '').split('#')[0].replace(/[^\/?&=]*(@|%40)[^\/?&=]*/gi, '').slice(0, 2000); }

	function clean(k, v) { return typeof v == 'string' && k != 'url' && k != 'ref' && /[^\s@]@[^\s@]+\.[^\s@]/.test(v) ? void 0 : v; }

	function hash(text) {
		var c = w.crypto && crypto.subtle;
		if (!c || !text) return Promise.resolve('');
		return c.digest('SHA-256', new TextEncoder().encode(text)).then(function (b) {
			return [].map.call(new Uint8Array(b), function (x) { return (x + 256).toString(16).slice(1); }).join('');
		});
	}

	// identify hashes what names a person; clear text does not leave the browser.
	function identify(u, silent) {
		u = u || {};
		var em = [].concat(u.em || u.email || []), ph = [].concat(u.ph || u.phone || u.phone_number || []), xid = u.xid || u.external_id || u.user_id, list = [];
		function add(kind, text) {
			list.push((/^[0-9a-f]{64}$/i.test(text) ? Promise.resolve(text) : hash(text)).then(function (h) {
				if (h && (who[kind] = who[kind] || []).indexOf(h) < 0) who[kind].push(h);
			}));
		}
		em.forEach(function (e) { add('em', String(e).trim().toLowerCase()); });
		ph.forEach(function (p) {
			var t = String(p).trim(), digits = t.replace(/\D/g, '');
			if (/^[0-9a-f]{64}$/i.test(t)) return add('ph', t);
			add('ph', '+' + digits);
			add('ph', digits);
		});
		if (xid && !/@/.test(xid)) who.xid = String(xid);
		if (!list.length && !xid) return;
		hashing++;
		Promise.all(list).catch(log).then(function () {
			hashing--;
			if (silent) flush(); else event('identify');
		});
	}

	var KEYS = 'items contents content_ids products product_id sku price quantity category brand value revenue currency order_id transaction_id q query search_term search_string props pct ms video_percent'.split(' ');

	// eventID is the same for one thing that several tags of the page report: the server knows
	// view_item and ViewContent as one. The nth report of a tag meets the nth of another.
	var page = Math.random().toString(36).slice(2, 12) + Date.now().toString(36), nth = {};
	function eventID(name, p, source) {
		var about = [].concat(p.items || p.contents || p.content_ids || p.products || p.product_id || []).map(function (i) { return i && (i.id || i.item_id || i.product_id || i.sku) || i; }).sort().join().toLowerCase(),
			k = [source, name, about].join('|'), h = 5381, i;
		for (i = 0; i < about.length; i++) h = h * 33 + about.charCodeAt(i) | 0;
		return page + '.' + (h >>> 0).toString(36) + '.' + (nth[k] = (nth[k] || 0) + 1);
	}

	function event(name, p, id, source) {
		p = p || {};
		if (!name || queue.length > 99) return;
		var e = { a: adv, event: String(name), event_id: id || p.event_id || eventID(name, p, source),
			url: address(location.href), ref: address(d.referrer), user: who };
		KEYS.forEach(function (k) { if (p[k] != null) e[k] = p[k]; });
		if (click()) (e.props = Object.assign({}, e.props)).rt_cid = click();
		queue.push(e);
		log('event', e.event, e);
		setTimeout(flush);
	}

	// click is the id of the ad click that led here. It is stored once events may be sent.
	function click() {
		var c = /[?&]rt_cid=([\w-]{1,64})/.exec(location.search);
		try {
			if (c && may() > 0) localStorage.rt_cid = c[1];
			return c ? c[1] : localStorage.rt_cid;
		} catch (e) { return c && c[1]; }
	}

	// flush sends the queue in one request. The first response brings the cookie, so the
	// second request waits for it: otherwise a new visitor would become several.
	function flush(leaving) {
		var m = may();
		if (m < 0) { if (queue.length) log('refused: ' + queue.length + ' events dropped'); queue = []; return; }
		if (!m || !queue.length || !leaving && (busy || hashing)) return;
		var list = queue.splice(0, 20);
		list.forEach(function (e) { e.consent = consent; });
		if (click()) { /* stores it */ }
		var body = JSON.stringify(list, clean), url = edge + '/v1/t';
		if (leaving === 1 || !first && !debug) {
			n.sendBeacon && n.sendBeacon(url, body) || send(url, body);
			flush(leaving);
		} else {
			busy = 1;
			send(url + (debug ? '?debug=1' : ''), body).catch(log).then(function () {
				if (first) setTimeout(syncs);
				first = busy = 0;
				flush();
			});
		}
	}

	function send(url, body) {
		var o = { method: 'POST', body: body, credentials: 'include' };
		if (!debug) { o.mode = 'no-cors'; o.keepalive = true; }
		return w.fetch(url, o).then(function (r) { if (debug) return r.json().then(function (j) { log('server', j); }); });
	}

	// syncs loads the cookie syncs that are due, after the page's own work.
	function syncs() {
		if (may() < 1) return;
		var q = '?a=' + encodeURIComponent(adv), c = { gdpr: consent.gdpr, gdpr_consent: consent.tc, us_privacy: consent.us_privacy, gpp: consent.gpp, gpp_sid: consent.gpp_sid };
		for (var k in c) if (c[k] != null) q += '&' + k + '=' + encodeURIComponent(c[k]);
		w.fetch(edge + '/v1/syncs' + q, { credentials: 'include' }).then(function (r) { return r.status == 200 ? r.json() : {}; }).then(function (j) {
			(j.syncs || []).forEach(function (u) { log('sync', u); new Image().src = u; });
		}).catch(log);
	}

	// The calls of other tags. They are wrapped: the original gets every call first.
	var read = {
		dataLayer: function (x) {
			if (x && x[0] == 'event') event(x[1], x[2], 0, 'd');
			else if (x && (x[0] == 'set' || x[0] == 'config')) {
				var v = x[0] == 'set' && typeof x[1] == 'object' ? x[1] : x[2] || {};
				identify(x[1] == 'user_data' ? v : Object.assign({ user_id: v.user_id }, v.user_data), 1);
			} else if (x && typeof x.event == 'string' && x.event.indexOf('gtm.')) event(x.event, Object.assign({}, x, x.ecommerce), 0, 'd');
		},
		fbq: function (a) {
			var k = /^track(Single)?(Custom)?$/.exec(a[0]), i = k && k[1] ? 2 : 1;
			if (k) event(a[i], a[i + 1], (a[i + 2] || {}).eventID, 'f');
			if (a[0] == 'init') identify(a[2], 1);
		},
		criteo_q: function (x) {
			var e = x && x.event || '', i = [].concat(x && (x.item || x.product) || []);
			if (e == 'setEmail') identify({ em: x.email }, 1);
			else if (e == 'setHashedEmail') identify({ em: [].concat(x.email).filter(function (h) { return h && h.length == 64; }) }, 1);
			else if (e == 'setCustomerId') identify({ xid: x.id }, 1);
			else if (e.indexOf('set')) event(e, { items: i, order_id: /transaction/i.test(e) ? x.id : void 0, currency: x.currency }, 0, 'c');
		}
	};

	function attempt(f, x) { try { f(x); } catch (e) { log(e); } }

	function wrap(name, v) {
		var f = read[name];
		if (!v || v.rt) return v;
		if (name == 'fbq') {
			[].forEach.call(v.queue || [], function (a) { attempt(f, a); });
			return new Proxy(v, {
				get: function (t, k) { return k == 'rt' || t[k]; },
				apply: function (t, self, a) { var r = Reflect.apply(t, self, a); attempt(f, a); return r; }
			});
		}
		[].forEach.call(v, function (x) { attempt(f, x); });
		var push = v.push;
		v.push = function () { var r = push.apply(v, arguments); [].forEach.call(arguments, function (x) { attempt(f, x); }); return r; };
		v.rt = 1;
		return v;
	}

	(opt.shim || '').split(',').forEach(function (name) {
		name = name.trim();
		if (!read[name]) return;
		var v = wrap(name, w[name]);
		try {
			Object.defineProperty(w, name, { configurable: true, enumerable: true, get: function () { return v; }, set: function (x) { v = wrap(name, x); } });
		} catch (e) { log(e); }
	});

	function rt(verb, a, b) {
		log.apply(null, arguments);
		if (verb == 'event') event(a, b);
		else if (verb == 'identify') identify(a);
		else if (verb == 'consent') { Object.assign(consent, a); usp = MAY; flush(); }
		else if (verb == 'optout') { out = 1; queue = []; try { localStorage.removeItem('rt_cid'); } catch (e) {} n.sendBeacon(edge + '/v1/optout', ''); }
	}
	var calls = w.rt && w.rt.q || [];
	w.rt = rt;
	rt.on = 1;
	listen();
	[50, 100, 200, 350].forEach(function (t) { setTimeout(listen, t); });
	setTimeout(function () { listen(); late = 1; flush(); }, 500);
	w.addEventListener('pagehide', function () { flush(1); });
	d.addEventListener('prerenderingchange', function () { flush(); });
	if (opt.auto != 'off') event('page_view');
	[].forEach.call(calls, function (x) { rt.apply(null, x); });
})(window, document, navigator);
