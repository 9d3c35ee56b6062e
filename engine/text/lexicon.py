"""Small lists of English words that mean nearly the same, or the opposite, for judging support.

Everyday and office words only, kept by hand; no list makes up for a model of meaning, and :mod:`engine.text.support`
gives a match through them less weight than the word itself.
"""

from __future__ import annotations

from functools import cache

from engine.text.words import stem

_ALIKE = """
meeting call sync standup session
fix repair resolve solve patch
broken fail crash down outage failing fault
error bug issue problem defect
buy purchase order
refund reimburse repay
cheap inexpensive affordable
cost price expense spend pay charge fee
begin start kick launch
end finish complete done close wrap
delay postpone late push slip defer reschedule
cancel drop scrap abandon
send mail email forward ship deliver
write draft document compose
check verify review inspect examine investigate look test
approve accept sign confirm
reject decline refuse deny
choose pick select prefer
help assist support
leave quit depart
arrive come land
show present demo display
remove delete drop uninstall
add include append
create make build set
change update modify edit alter adjust switch
raise increase grow bump up double
lower decrease reduce cut down shrink
big large huge
small little tiny
fast quick rapid speed
slow sluggish lag
happy glad pleased delighted
angry upset furious annoyed frustrated
sad sorry apologise apologize apology
holiday vacation leave off
doctor physician gp
kid child son daughter
boss manager lead
employee staff worker colleague
customer client buyer
replace swap substitute exchange
revert rollback undo roll
restart reboot restart bounce
deploy release ship rollout
password credential login
database db
server host machine box node
invoice bill receipt
broken damaged cracked torn
package parcel delivery shipment
venue location place room
food lunch dinner meal catering eat
drive car ride lift
train rail
flight plane fly
hotel accommodation stay
tomorrow morning
monitor watch alert track
cause reason because due
need require must
want wish like hope
try attempt
suggest propose recommend idea
ask request question
promise commit
plan schedule intend arrange
search find locate
fetch collect pick
book reserve
repeat again
share post publish
talk speak discuss chat
teach train explain
team crew squad
money budget fund cash
photo picture image screenshot
friday weekend
sick ill unwell flu
party celebration
present gift
contact reach message ping text
free available
busy unavailable
wait hold
join attend participate
backup copy snapshot
disk storage
log logs trace
config configuration setting
"""

_OPPOSITE = """
increase/decrease raise/lower more/less accept/reject approve/reject approve/deny agree/refuse agree/decline
accept/decline agree/disagree open/close enable/disable add/remove succeed/fail fix/break before/after
early/late earlier/later high/low faster/slower fast/slow quick/slow start/stop begin/end cheap/expensive
cheaper/expensive keep/drop keep/remove keep/cancel merge/revert win/lose love/hate like/dislike buy/sell
first/last always/never safe/dangerous possible/impossible available/unavailable happy/unhappy happy/upset
healthy/sick inside/outside morning/evening morning/afternoon today/tomorrow yesterday/tomorrow
weekday/weekend internal/external public/private online/offline shorter/longer short/long smaller/bigger
smaller/larger better/worse good/bad best/worst allow/forbid allow/block continue/stop postpone/bring
cancel/confirm full/empty hire/fire arrive/leave remember/forget import/export upgrade/downgrade lock/unlock
include/exclude attach/detach solved/unsolved success/failure easy/hard easy/difficult keep/replace
passed/failed pass/fail works/broken working/broken stay/leave cold/hot warm/cold top/bottom max/min gain/lose
"""


@cache
def alike() -> dict[str, frozenset[str]]:
    """Each stem with those that mean nearly the same."""
    groups: dict[str, set[str]] = {}
    for line in _ALIKE.strip().splitlines():
        stems = {stem(word) for word in line.split()}
        for one in stems:
            groups.setdefault(one, set()).update(stems - {one})
    return {one: frozenset(others) for one, others in groups.items()}


@cache
def opposite() -> dict[str, frozenset[str]]:
    """Each stem with those that mean the opposite."""
    pairs: dict[str, set[str]] = {}
    for pair in _OPPOSITE.split():
        left, right = (stem(word) for word in pair.split("/"))
        if left != right:
            pairs.setdefault(left, set()).add(right)
            pairs.setdefault(right, set()).add(left)
    return {one: frozenset(others) for one, others in pairs.items()}
