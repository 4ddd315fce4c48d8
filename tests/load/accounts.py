"""Prints SQL that inserts NUMBER accounts in the original's format: accounts.py NUMBER."""

import sys

FAMILY_NAMES = [("kim", "김"), ("lee", "이"), ("park", "박"), ("choi", "최"), ("jung", "정"), ("kang", "강"), ("yoon", "윤"), ("seo", "서")]
GIVEN_NAMES = [("minjun", "민준"), ("seoyeon", "서연"), ("doyun", "도윤"), ("jiwoo", "지우"), ("hajun", "하준"), ("yuna", "유나"), ("jiho", "지호")]
BATCH = 1_000

number = int(sys.argv[1])
for first in range(0, number, BATCH):
    rows = []
    for n in range(first, min(first + BATCH, number)):
        (family, family_hangul), (given, given_hangul) = FAMILY_NAMES[n % len(FAMILY_NAMES)], GIVEN_NAMES[n % len(GIVEN_NAMES)]
        name = f"{family}_{given}_{n}"
        rows.append(f"('{name}@example.com','-','{name}','{family_hangul}{given_hangul}',0,1,NOW(),NOW())")
    print("INSERT IGNORE INTO users (email, password_hash, username, display_name, is_online, is_active, created_at, updated_at) "
          f"VALUES {','.join(rows)};")
