-- KEYS: when sessions were entered; until when they are. ARGV: sessions, each with when it was entered.
remove_entries(KEYS[1], KEYS[2], ARGV, 1)
return 1
