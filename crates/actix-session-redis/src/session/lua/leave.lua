-- KEYS: when sessions were entered; until when they are; renewals under way. ARGV: sessions, each with when
-- it was entered.
remove_entries(KEYS[1], KEYS[2], ARGV, 1)
-- Takes out those that are over.
under_way(KEYS[1], KEYS[3])
return 1
