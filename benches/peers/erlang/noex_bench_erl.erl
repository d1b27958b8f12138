%% Erlang's own distribution as a row of `noex-bench remote`: gen_server calls and casts between two nodes in plain
%% configuration. The server prints its port; the client takes one order per line (JSON) and answers one sample per
%% line, as the other rows do. Both end when their standard input closes.
-module(noex_bench_erl).
-behaviour(gen_server).
-export([serve/0, drive/0, init/1, handle_call/3, handle_cast/2]).

-define(SMALL, 32).

%% The target.
init(_) -> {ok, 0}.
handle_call({echo, Id, Pid, Payload}, _, N) -> {reply, {Id, Pid, Payload}, N};
handle_call({big, Payload}, _, N) -> {reply, byte_size(Payload), N};
handle_call(count, _, N) -> {reply, N, N}.
handle_cast({sink, _, _, _}, N) -> {noreply, N + 1}.

serve() ->
    spawn(fun() ->
        {ok, _} = gen_server:start({local, target}, ?MODULE, [], []),
        [Port] = init:get_plain_arguments(),
        io:format("~s~n", [Port]),
        until_closed()
    end).

until_closed() ->
    case io:get_line("") of
        Line when is_list(Line); is_binary(Line) -> until_closed();
        _ -> halt()
    end.

drive() ->
    spawn(fun() ->
        [Server] = init:get_plain_arguments(),
        Node = server@localhost,
        pong = ping(Node, 100),
        orders(rpc:call(Node, erlang, whereis, [target]), Server)
    end).

ping(Node, Tries) ->
    case net_adm:ping(Node) of
        pang when Tries > 0 -> timer:sleep(50), ping(Node, Tries - 1);
        Answer -> Answer
    end.

orders(Target, Server) ->
    case io:get_line("") of
        Line when is_list(Line); is_binary(Line) ->
            Get = fun(Key) -> number(Line, Key) end,
            {match, [Phase]} = re:run(Line, "\"phase\":\"([A-Za-z0-9]+)\"", [{capture, all_but_first, list}]),
            answer(phase(Phase, Get, Target, Server)),
            orders(Target, Server);
        _ -> halt()
    end.

number(Line, Key) ->
    {match, [Digits]} = re:run(Line, "\"" ++ Key ++ "\":([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Digits).

answer(Sample) ->
    Pairs = [io_lib:format("\"~s\":~.6f", [Name, float(Value)]) || {Name, Value} <- Sample],
    io:format("{~s}~n", [lists:join(",", Pairs)]).

phase("Seq", Get, Target, Server) -> seq(Get, Target, Server);
phase("P8", Get, Target, Server) -> window("8", 8, Get, Target, Server);
phase("P64", Get, Target, Server) -> window("64", 64, Get, Target, Server);
phase("P512", Get, Target, Server) -> window("512", 512, Get, Target, Server);
phase("Cast", Get, Target, Server) -> casts(Get, Target, Server);
phase("Kib4", Get, Target, Server) -> big("Kib4MbPerS", 4 bsl 10, Get, Target, Server);
phase("Kib64", Get, Target, Server) -> big("Kib64MbPerS", 64 bsl 10, Get, Target, Server);
phase("Big", Get, Target, Server) -> big("Mib1MbPerS", 1 bsl 20, Get, Target, Server);
phase("Mib8", Get, Target, Server) -> big("Mib8MbPerS", 8 bsl 20, Get, Target, Server);
phase(_, _, _, _) -> [].

payload() -> binary:copy(<<7>>, ?SMALL).

echo(Target, Payload) ->
    {_, _, Echoed} = gen_server:call(Target, {echo, 1, 42, Payload}),
    ?SMALL = byte_size(Echoed).

seq(Get, Target, Server) ->
    Payload = payload(),
    Limit = Get("seq_ms") * 1000000,
    _ = timed(Target, Payload, Get("warm_calls"), now_ns() + Limit, []),
    Used = cpu(Server),
    Latencies = lists:sort(timed(Target, Payload, Get("seq_calls"), now_ns() + Limit, [])),
    Cpu = since(Used, Server),
    N = length(Latencies),
    At = fun(Percent) -> lists:nth(min(N, N * Percent div 100 + 1), Latencies) / 1.0e3 end,
    [{"RttP50Us", At(50)}, {"RttP99Us", At(99)}, {"CpuUsPerRtt", Cpu / 1.0e3 / N}].

timed(_, _, 0, _, Latencies) -> Latencies;
timed(Target, Payload, N, End, Latencies) ->
    Sent = now_ns(),
    echo(Target, Payload),
    Now = now_ns(),
    case Now > End of
        true -> [Now - Sent | Latencies];
        false -> timed(Target, Payload, N - 1, End, [Now - Sent | Latencies])
    end.

window(Name, Callers, Get, Target, Server) ->
    Payload = payload(),
    Self = self(),
    Used = cpu(Server),
    Start = now_ns(),
    End = Start + Get("window_ms") * 1000000,
    [spawn_link(fun() -> Self ! {calls, calls(Target, Payload, End, 0)} end) || _ <- lists:seq(1, Callers)],
    Calls = lists:sum([receive {calls, N} -> N end || _ <- lists:seq(1, Callers)]),
    Elapsed = now_ns() - Start,
    Cpu = since(Used, Server),
    [{"Calls" ++ Name ++ "PerS", Calls * 1.0e9 / Elapsed}, {"CpuUsPerCall" ++ Name, Cpu / 1.0e3 / Calls}, {"Messages", Calls}].

calls(Target, Payload, End, N) ->
    case now_ns() < End of
        true -> echo(Target, Payload), calls(Target, Payload, End, N + 1);
        false -> N
    end.

casts(Get, Target, Server) ->
    Payload = payload(),
    Before = count(Target),
    Used = cpu(Server),
    Start = now_ns(),
    Sent = send(Target, Payload, Get("casts"), Start + Get("cast_ms") * 1000000, 0),
    Arrived = arrived(Target, Before, Sent, now_ns() + 10000000000),
    Elapsed = now_ns() - Start,
    Cpu = since(Used, Server),
    [{"CastsPerS", Arrived * 1.0e9 / Elapsed}, {"CpuUsPerCast", Cpu / 1.0e3 / Arrived}, {"CastsLost", Sent - Arrived},
     {"Messages", Arrived}].

send(_, _, Most, _, Sent) when Sent >= Most -> Sent;
send(Target, Payload, Most, End, Sent) ->
    gen_server:cast(Target, {sink, 1, 42, Payload}),
    case Sent rem 1024 =:= 1023 andalso now_ns() > End of
        true -> Sent + 1;
        false -> send(Target, Payload, Most, End, Sent + 1)
    end.

arrived(Target, Before, Sent, Latest) ->
    Arrived = count(Target) - Before,
    case Arrived >= Sent orelse now_ns() > Latest of
        true -> Arrived;
        false -> timer:sleep(1), arrived(Target, Before, Sent, Latest)
    end.

%% Behind a queue of casts it may wait longer than a call does by default.
count(Target) -> gen_server:call(Target, count, 60000).

big(Metric, Length, Get, Target, Server) ->
    Payload = binary:copy(<<9>>, Length),
    [Length = gen_server:call(Target, {big, Payload}) || _ <- lists:seq(1, 3)],
    Used = cpu(Server),
    Start = now_ns(),
    Calls = large(Target, Payload, Length, Start + Get("big_ms") * 1000000, 0),
    Elapsed = now_ns() - Start,
    Cpu = since(Used, Server),
    Rate = {Metric, Calls * Length * 1.0e3 / Elapsed},
    case Metric of
        "Mib1MbPerS" -> [Rate, {"CpuUsPerMib1", Cpu / 1.0e3 / Calls}];
        _ -> [Rate]
    end.

large(Target, Payload, Length, End, Calls) ->
    case now_ns() < End of
        true -> Length = gen_server:call(Target, {big, Payload}), large(Target, Payload, Length, End, Calls + 1);
        false -> Calls
    end.

now_ns() -> erlang:monotonic_time(nanosecond).

%% Nanoseconds of processor time by thread, of both processes.
cpu(Server) -> {threads("self"), threads(Server)}.

since({Own, Other}, Server) ->
    {NowOwn, NowOther} = cpu(Server),
    spent(Own, NowOwn) + spent(Other, NowOther).

spent(Before, Now) ->
    maps:fold(fun(Thread, At, Sum) -> Sum + max(0, At - maps:get(Thread, Before, 0)) end, 0, Now).

threads(Process) ->
    {ok, Threads} = file:list_dir("/proc/" ++ Process ++ "/task"),
    maps:from_list([{Thread, Nanos} || Thread <- Threads, Nanos <- spent_by(Process, Thread)]).

spent_by(Process, Thread) ->
    case file:read_file("/proc/" ++ Process ++ "/task/" ++ Thread ++ "/schedstat") of
        {ok, Text} -> [binary_to_integer(hd(binary:split(Text, <<" ">>)))];
        _ -> []
    end.
