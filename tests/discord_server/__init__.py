"""A local Discord for tests: its gateway over a real WebSocket and the REST routes that the app uses, each strict.

Stricter than a friend: every request is held against what Discord documents of API v10 (fields, types, limits; routes
and queries that are not known are failures as well), and what breaks a rule is in ``server.broken``, which a fixture
asserts empty at the end. A well-formed request that Discord refuses (a permission, a token too old) is in
``server.refused``, one of too many in ``server.limits.exceeded``.

Start it, in a running loop, and fill it before the app comes (nobody is told of what is seeded)::

    server = DiscordServer()
    acme = server.guild("Acme")                               # the app is in it, by a role of its own
    ana = server.person("ana", "Ana"); server.member(acme, ana)
    general = server.channel(acme, "general")
    secret = server.channel(acme, "secret", only=[ana, server.app_role(acme)])
    first = server.write(general, ana, "The export fails.", ago=3600)
    server.write(general, ana, "Solved.", reply=first)
    talk = server.thread(general, "the export", ana, starter=first)      # or private=True, or a forum channel's post
    server.backlog(general, 10_000, lambda n: (ana, f"message {n}"), ago=86_400 * 8)     # made when they are read
    await server.start()
    ...
    await server.stop(); assert server.broken == []

Point discord.py at it: in the test's own process ``with pointed(server.base):`` (:mod:`tests.discord_server.pointing`
says which two attributes that sets); a process of its own does the same from its settings, with ``server.base`` (or
``server.api``, which ends in ``/api/v10``) and ``server.token``. discord.py says that it is ready only
``guild_ready_timeout`` seconds (2 by default) after the last guild has come, and waits 5 seconds before it identifies
anew.

What discord.py does that a test may trip over: a socket that is cut is resumed at once, but one that cannot be opened
again is identified anew, and what happened meanwhile is lost; a 500 or 502 is tried again after 1, 3, 5 seconds; a 429
without a ``Via`` header would be taken for a ban.

Do what people do (each waits for a connection, delivers, and returns the :class:`~.interactions.Interaction`)::

    asked = await server.slash(ana, general, "summarize", since="2h", channel=talk)    # it must be registered
    asked = await server.slash(ana, general, "redraft recent")                         # subcommands
    asked = await server.slash(ana, general, "summarize", user_installed=True)         # five follow-ups
    offered = await server.autocomplete(ana, general, "summarize", "since", "ye")      # [{"name": …, "value": …}]
    asked = await server.context_menu(ana, first, "Summarize from here")
    clicked = await server.press(ana, answer, "Correct")          # by label, emoji, custom id; see server.buttons
    chosen = await server.select(ana, answer, "custom_id", "value")
    sent = await server.submit(clicked, text="My own words.")     # the modal that it opened; values by custom id

    await server.say(ana, general, "One more thing"); await server.edit(first, "…"); await server.delete(first)
    await server.bulk_delete(general, [first]); await server.throw_out(acme); await server.take_in(acme)
    await server.outage(acme); await server.remove_channel(secret); await server.take_role(acme, ana, role)
    await server.role_changed(acme, acme.everyone, permissions); await server.channel_changed(secret)
    await server.add_to_thread(talk, server.app); await server.unfurl(first)     # and more: `happenings`

Wait for what the app does, and look at it::

    await server.connected(shards=1)
    await asked.acknowledged(); asked.took               # seconds, by the server's clock; asked.answered_by: 4 to 9
    answer = await asked.answer()        # a Message: content, embeds, components, ephemeral, pinged, drafts
    more = await asked.followup(1); modal = await clicked.shown_modal(); asked.shown
    post = await server.posted(general)                  # what all see; server.posts: everything, in order
    await server.until(lambda: server.called("PUT /applications/{application}/commands"), "commands are registered")
    server.loud                                          # messages that pinged, or show link previews
    objects.text_of(answer)                              # all that can be read in a message, whatever it is made of

Have things go wrong::

    server.cut(); await server.ask_to_reconnect(); await server.invalidate(resumable=False); await server.close(4009)
    await server.go_away(); await server.come_back()     # an outage
    server.silence()                                     # heartbeats are taken and not acknowledged
    server.close_next.append(4014); server.privileged = 0; server.revoked = True
    server.limit_next("POST /channels/{channel}/messages", 0.1, everywhere=False); server.fail_next(name, 502)
    server.refuse_next(name, UNKNOWN_MESSAGE); server.limits.of[name] = (1, 0.2)
    server.ahead += 15 * 60                              # interactions' tokens are 15 minutes older now
    server.slow[name] = 0.3; server.identify_apart_s = 5
    server.hiccups = 1                                   # the first request by a token after a deferral is a 404
    server.heartbeat_ms = 100                            # server.heartbeats: when they came
    channel.allow(ana, 0, VIEW_CHANNEL)                  # permissions are computed anew for each request
    ana.closed = True                                    # takes no direct messages

``tests/bot/discord_acme.py`` seeds a guild with threads, a forum, an archive of 10,000 messages and texts that are
hard to read.

Files: ``world`` (what there is, permissions), ``seeds``, ``people``, ``happenings``, ``interactions``, ``rest``,
``places``, ``gateway``, ``server``; the rules are in ``routes``, ``rules``, ``components``, ``commands``, ``payloads``,
``limits``.
"""
