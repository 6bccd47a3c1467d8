"""
May the candidate go live? Counts made from pairs, what they show, and the answer.

PURE: no clock, no chance, no I/O. The way through:

1. ``facts``: what the verdict needs of a batch of pairs, as columns. ``legs`` says what a leg that did not end well
   still shows: an interval, never a gap. ``bins`` and ``grid`` make whole numbers of durations and similarities.
2. ``ledger``: counts of them, without content, for one stratum (a method). They are sums by key (``tally``, ``blocks``,
   ``together``, ``moments``), so ledgers of several processors merge in any order to the same bytes (``ledger_bytes``).
3. ``bets``: how much counts say about a mean, valid at every look (:mod:`shadowmesh.evidence`, for arrays).
   ``quantile``: the same of the ratio of two quantiles, by pairs. ``cells``: what it needs of ledgers, each read once.
   ``search``: where a test changes its answer, in few askings.
4. ``settings``: the criteria, and the trap in each. ``latency``, ``means``, ``similarity`` and ``coverage`` ask them of
   ledgers; each question has evidence for PASS, in which all that is missing speaks against the candidate, and for
   FAIL, in which it speaks for it. How slow a leg would have been that failed, FAIL does not ask: it is about those
   that both answered.
5. ``guard``: evidence is worth less where it comes in bursts, or by ``sessions``. ``deciding``: evidence, guard and
   thresholds to PASS, FAIL or NOT_YET, with a reason and what is still needed.
6. ``verdict``: all of it to GO, NO_GO or NOT_YET (``records``), with its ``caveats``: what shows how far the numbers
   carry and decides nothing, such as ``circumstances`` of the pairs (load, caches, lag, different ``prompts``), for
   which ledgers count ``circumstance_keys``. ``plan``, ``judgement`` and ``document``: the verdicts that somebody asked
   for together, and their JSON.
7. ``change``: did it just become worse? For alerts, beside the verdict. ``watch``: what is watched of one candidate;
   ``alert``: what is said of it, as JSON.

Who may be wrong, and how often: GO takes every criterion, so a candidate that is bad in one respect gets through with a
chance of at most alpha, however often one looks. NO_GO takes one criterion or guard, each at its part of alpha; methods
that are asked alone share another alpha; the variance guard is a heuristic. Another attempt has half of the alpha, so
that of all attempts together a bad candidate gets through with at most twice alpha, however often it is begun.

How often it is, by simulation: ``make sim`` reproduces this in a quarter of an hour, with fixed seeds, and has the rows
left out here. Looked at every 50 to 500 pairs, to 20 000 pairs (with outages: every minute, to 25 hours) at alpha 5 %.

====================================================================  ============  =============  ===================
world                                                                 said          share of runs  at most / needed
====================================================================  ============  =============  ===================
win rate exactly at its limit: 50, 47, 45 %                           PASS          2.1, 2.7, 1.9 %  7.3 %
errors exactly at their margin: 1.0 v 0.5, 0.75 v 0.25, 1.1 v 0.1 %   PASS          1.6, 1.2, 1.3 %  7.3 %
errors 1 v 1 %                                                        FAIL          1.2 %          7.3 %
similarity exactly at its limit, or at its share of the floor         PASS or FAIL  0 %            10.5 %
P95 ratio exactly 1.2, correlation of the legs 0, 0.6, 0.9            PASS          0 %            11.7 %
the same                                                              FAIL          0 %            11.7 %
P95 ratio 1.2: errors 1 v 1 %, or the shortest 1 % or 5 % fail        FAIL          0 %            13.0 %
P95 ratio 1.25, shadows ended at 1.1 times the P95 of live            PASS          0 %            15.0 %
P95 ratio 1.25, the slowest 3 % of the shadows never seen, or fail    PASS          0 %            15.0 %
errors 1 v 1 % in outages: 20 s, 100 s at 1/s                         FAIL          4.0, 4.5 %     12 %
the same: 1 s, 300 s at 20/s; 1 s at 100/s                            FAIL          6, 10, 11 %    12 %
errors 1 v 1 % in whole sessions of 20, whose bucket is known         FAIL          1.8 %          12 %
errors 0.5 v 0 % in whole sessions of 20, after 100 minutes           PASS          2.0 %          8 %
errors 0.5 v 0 % in outages, after 600 minutes: 20 s, 60 s            PASS          3.0, 4.5 %     8 %
equal models: one by one, in outages, in slow spells, six methods     NO_GO         0 %            4.0 % and more
equal models with a judge, every 1 000 pairs to 60 000                NO_GO         0 %            5.0 %
equal models, 3 % of the clients leave; a slow way and a control      NO_GO         0 %            13.0 %
P95 ratio 1.2, errors 1.0 v 0.5 %, similarity 95 % of the floor       GO            0 %            10.5 %
win rate exactly at its limit of 47 %, to 30 000 pairs                GO            0 %            10.5 %
win rate exactly at that limit, begun 32 times: in any of them        GO            3.0 %          8.7 %
P95 ratio 1.3, its longest 1 % fail                                   GO            0 %            13.0 %
equal models; with a judge of 30 %, of which 40 % are ties            GO            100 %          by 10 500 pairs
win rate 53 % and P95 ratio 0.95                                      GO            100 %          by 10 500 pairs
P95 ratio 1.1                                                         GO            99.0 %         by 15 000 pairs
P95 ratio 1.0, 1.1                                                    PASS          4 in 5         by 1 800, 6 800
P95 ratio 1.3, errors 0.5 or 1 % on both sides                        FAIL          4 in 5         by 7 400, 8 000
P95 ratio 1.4, its longest 1 % fail                                   FAIL          4 in 5         by 3 200 pairs
P95 ratio 1.3, errors 0 or 1 % on both sides                          NO_GO         4 in 5         by 10 500, 10 000
P95 ratio 1.4, errors 0.5 %                                           NO_GO         4 in 5         by 3 000 pairs
errors 2 v 0.5 %                                                      NO_GO         4 in 5         by 4 000 pairs
win rate 40 % of what is no tie                                       NO_GO         4 in 5         by 10 000 pairs
one of six methods 1.5 times as slow                                  NO_GO         4 in 5         by 10 000 pairs
3 % shed: at random; the longest                                      by length     0.5, 100 %     10.5 %; by 1 000
errors 1 v 1 %, to 100 000 pairs; 5 v 1 % since a moment ago          alarm         4, 82 %        20 %; by 800 pairs
====================================================================  ============  =============  ===================

The limits are the 99.9 % quantile of a binomial with the error promised; those of outages are what the guard is held
to. In the same worlds, common readings break them: a z-test read again 33 %, "more than half won" read again 84 % (30 %
where it is false), "P95 below 1.2 times" read again 92 % at exactly 1.2 and 47 % at 1.25, Mann-Whitney read again 13 %,
slow shadows or time-outs dropped 100 %, this evidence without the variance guard 81 to 89 %, with a guard that knows no
sessions 25 to 32 % where whole sessions fail, 32 attempts with all of alpha each 32 %, methods asked together only 100
%, and no control where the way is 1.3 times as slow 100 %. And so does this verdict where it cannot know. An outage
share of 0.5 % in outages of five minutes passes after 600 minutes in 53 % of runs, because none has been seen: to
certify such a share takes 600 times as long as one outage. And where the 3 % of the clients leave that live lets wait
longest, a P95 ratio of 1.2 is a FAIL in all runs (``legs``).
"""
