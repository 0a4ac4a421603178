-- SPDX-License-Identifier: GPL-2.0-or-later
--
-- workloads.lua - tables, strings, closures, coroutines, sorts, patterns, and much garbage
--
-- Arguments: how many MiB of heap it is to need. What it prints depends on that only: the order
-- of pairs(), which depends on addresses, is never printed.

local mib = ...
local n = mib * 500

-- More heap and fewer collections than by default.
collectgarbage("incremental", 1000)

local state = 1
local function random(limit) -- MINSTD: the same everywhere
  state = state * 48271 % 2147483647
  return state % limit + 1
end

local function word()
  local syllables = { "ka", "ri", "to", "men", "sul", "pe", "dor", "an" }
  local parts = {}
  for i = 1, 2 + random(5) do parts[i] = syllables[random(8)] end
  return table.concat(parts)
end

local function checksum(text, value)
  value = value or 5381
  for i = 1, #text do value = (value * 33 + text:byte(i)) % 4294967296 end
  return value
end

local function report(what, count, sum)
  io.write(string.format("%s: %d, checksum %d\n", what, count, sum))
end

-- Records in tables, indexed by three keys; sorted by two of them.
local function records()
  local all, by_name, by_group = {}, {}, {}
  for i = 1, n do
    local record = { id = i, name = word() .. i, group = random(100), score = random(1000000) }
    all[i] = record
    by_name[record.name] = record
    by_group[record.group] = by_group[record.group] or {}
    table.insert(by_group[record.group], record)
  end
  table.sort(all, function(a, b)
    if a.score ~= b.score then return a.score < b.score end
    return a.name < b.name
  end)
  local sum = 0
  for i, record in ipairs(all) do
    assert(by_name[record.name] == record)
    sum = (sum * 31 + record.id * i) % 4294967296
  end
  for _, group in ipairs(by_group) do sum = (sum * 31 + #group) % 4294967296 end
  report("records", #all, sum)
end

-- A long text made piece by piece; every pattern function over it.
local function text()
  local pieces = {}
  for i = 1, n do pieces[i] = word() .. (i % 9 == 0 and ".\n" or " ") end
  local whole = table.concat(pieces)
  local words, lines = {}, 0
  for w in whole:gmatch("%a+") do words[w] = (words[w] or 0) + 1 end
  local changed, count = whole:gsub("(%a+)ka(%a*)", "%2-%1")
  local upper = changed:gsub("^%l", string.upper):gsub("\n%l", string.upper)
  for _ in upper:gmatch("[^\n]+\n") do lines = lines + 1 end
  local most = 0
  for _, times in pairs(words) do most = math.max(most, times) end
  report("text", #upper, checksum(upper) + count + lines + most)
  report("reversed", #whole, checksum(whole:reverse():sub(1, 5000)))
end

-- Closures that keep their variables alive, called in another order than made.
local function closures()
  local counters = {}
  for i = 1, n do
    local value, step = i, random(10)
    counters[i] = function() value = value + step; return value end
  end
  local sum = 0
  for i = 1, n do sum = (sum * 31 + counters[random(n)]()) % 4294967296 end
  report("closures", #counters, sum)
end

-- A generator in a coroutine walks a binary tree.
local function trees()
  local function insert(node, key)
    if not node then return { key = key } end
    if key < node.key then node.left = insert(node.left, key)
    else node.right = insert(node.right, key) end
    return node
  end
  local function walk(node)
    if not node then return end
    walk(node.left)
    coroutine.yield(node.key)
    walk(node.right)
  end
  local root, sum, count = nil, 0, 0
  for _ = 1, n // 2 do root = insert(root, random(2000000000)) end
  for key in coroutine.wrap(function() walk(root) end) do
    sum = (sum * 31 + key) % 4294967296
    count = count + 1
  end
  report("tree", count, sum)
end

-- Short-lived garbage beside what lives; weak tables; finalizers; both kinds of collector.
local function garbage()
  local finalized, kept, weak = 0, {}, setmetatable({}, { __mode = "v" })
  local meta = { __gc = function() finalized = finalized + 1 end }
  for round, kind in ipairs { "incremental", "generational" } do
    collectgarbage(kind, round == 1 and 200 or 20)
    for i = 1, n do
      local object = setmetatable({ word(), word() .. i }, meta)
      weak[i] = object
      if i % 8 == 0 then kept[#kept + 1] = object end
    end
    if round == 1 then kept = {} end
  end
  collectgarbage()
  collectgarbage()
  local alive, sum = 0, 0
  for i = 1, n do
    if weak[i] then alive = alive + 1; sum = checksum(weak[i][2], sum) end
  end
  assert(alive == #kept)
  report("garbage", finalized, sum)
end

-- A big matrix of floats, a sieve in one table, and pcall with errors that carry tables.
local function numbers()
  local sieve, primes = {}, 0
  for i = 2, 8 * n do sieve[i] = true end
  for i = 2, 8 * n do
    if sieve[i] then
      primes = primes + 1
      for j = i * i, 8 * n, i do sieve[j] = false end
    end
  end
  report("primes", primes, 8 * n)
  local failures = 0
  for i = 1, n // 4 do
    local good, problem = pcall(function() if i % 3 == 0 then error { code = i } end end)
    if not good then failures = failures + problem.code end
  end
  report("errors", n // 4, failures)
end

for _, section in ipairs { records, text, closures, trees, garbage, numbers } do section() end
