// SPDX-License-Identifier: GPL-2.0-or-later
//
// containers.cc - the standard containers, algorithms, exceptions and threads of C++
//
// Each section builds something of about the size asked for, uses it, prints a line with a
// checksum and drops it. What new and the containers allocate comes from malloc().
//
// Run: ./containers [MIB]
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <queue>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

class Random {
public:
	explicit Random(std::uint64_t seed) : state(seed) {}
	std::uint64_t operator()()
	{
		state += 0x9e3779b97f4a7c15u;
		std::uint64_t x = state;
		x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
		x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
		return x ^ (x >> 31);
	}
	std::size_t below(std::size_t limit) { return static_cast<std::size_t>((*this)() % limit); }

private:
	std::uint64_t state;
};

std::uint64_t hash(const std::string &text, std::uint64_t value = 14695981039346656037u)
{
	for (unsigned char c : text)
		value = (value ^ c) * 1099511628211u;
	return value;
}

std::string word(Random &random)
{
	static const char *const syllables[] = { "ka", "ri", "to", "men", "sul", "pe", "dor", "an" };
	std::string text;
	for (std::size_t i = 2 + random.below(9); i > 0; i--)
		text += syllables[random.below(8)];
	return text;
}

void report(const char *what, std::size_t count, std::uint64_t checksum)
{
	std::cout << what << ": " << count << " elements, checksum " << std::hex << checksum
	          << std::dec << '\n';
}

// Strings long and short in a vector: sorted, made unique, searched.
void strings(std::size_t size)
{
	Random random(1);
	std::vector<std::string> all;
	for (std::size_t i = 0; i < size / 300; i++)
		all.push_back(word(random) + " " + word(random) + " " + std::to_string(i % 5000) +
		              std::string(100 + i % 100, '.'));
	std::sort(all.begin(), all.end());
	all.erase(std::unique(all.begin(), all.end()), all.end());
	std::uint64_t sum = 0, found = 0;
	for (const auto &text : all)
		sum = hash(text, sum);
	for (int i = 0; i < 1000; i++)
		found += std::binary_search(all.begin(), all.end(), all[random.below(all.size())]);
	report("vector<string>", all.size(), sum + found);
}

// A word index: ordered, a vector of line numbers for each word; then every third is erased.
void ordered(std::size_t size)
{
	Random random(2);
	std::map<std::string, std::vector<std::uint32_t>> index;
	for (std::size_t i = 0; i < size / 400; i++) {
		auto &lines = index[word(random)];
		for (std::uint32_t line = 0; line < 40; line++)
			lines.push_back(static_cast<std::uint32_t>(i) * line);
	}
	std::size_t n = 0;
	for (auto it = index.begin(); it != index.end();)
		it = n++ % 3 == 0 ? index.erase(it) : std::next(it);
	std::uint64_t sum = 0;
	for (const auto &[key, lines] : index)
		sum = std::accumulate(lines.begin(), lines.end(), hash(key, sum));
	report("map", index.size(), sum);
}

// Counts in a hash table that is rehashed as it grows. Its order of iteration is its own
// business: the sum does not depend on it.
void hashed(std::size_t size)
{
	Random random(3);
	std::unordered_map<std::uint64_t, std::string> table;
	for (std::size_t i = 0; i < size / 300; i++)
		table[random() % (size / 200)] += std::string(60, static_cast<char>('a' + i % 26));
	std::uint64_t sum = 0;
	for (const auto &[key, text] : table)
		sum += hash(text, key);
	report("unordered_map", table.size(), sum);
}

// A queue that moves through memory, and a list that is spliced, reversed and sorted.
void sequences(std::size_t size)
{
	Random random(4);
	std::deque<std::uint64_t> queue;
	std::list<std::uint64_t> list, evens;
	std::uint64_t sum = 0;
	for (std::size_t i = 0; i < size / 32; i++) {
		queue.push_back(random());
		if (i % 4 == 3) {
			sum = sum * 31 + queue.front();
			queue.pop_front();
		}
	}
	report("deque", queue.size(), std::accumulate(queue.begin(), queue.end(), sum));

	for (std::size_t i = 0; i < size / 500; i++)
		list.push_back(random() % 1000000);
	list.sort();
	for (auto it = list.begin(); it != list.end();) {
		auto here = it++;
		if (*here % 2 == 0)
			evens.splice(evens.begin(), list, here);
	}
	list.reverse(); // evens were put in front, and so are in falling order already
	list.merge(evens, std::greater<>());
	sum = 0;
	for (std::uint64_t value : list)
		sum = sum * 31 + value;
	report("list", list.size(), sum);
}

struct Node {
	std::uint64_t id;
	std::vector<std::pair<std::weak_ptr<Node>, std::uint64_t>> edges; // to, length
	std::uint64_t distance = UINT64_MAX;
	explicit Node(std::uint64_t number) : id(number) {}
};

// Shortest paths (Dijkstra) in a graph of shared nodes.
void graph(std::size_t size)
{
	using Entry = std::pair<std::uint64_t, std::shared_ptr<Node>>;
	auto later = [](const Entry &a, const Entry &b) {
		return a.first != b.first ? a.first > b.first : a.second->id > b.second->id;
	};
	Random random(5);
	std::vector<std::shared_ptr<Node>> nodes;
	for (std::size_t i = 0; i < size / 300; i++)
		nodes.push_back(std::make_shared<Node>(i));
	for (auto &node : nodes)
		for (int i = 0; i < 3; i++) {
			auto &other = nodes[(node->id + random.below(2000)) % nodes.size()];
			node->edges.emplace_back(other, 1 + random() % 100);
		}
	std::priority_queue<Entry, std::vector<Entry>, decltype(later)> queue(later);
	nodes[0]->distance = 0;
	queue.emplace(0, nodes[0]);
	while (!queue.empty()) {
		auto [distance, node] = queue.top();
		queue.pop();
		if (distance > node->distance)
			continue;
		for (auto &[to, length] : node->edges) {
			auto other = to.lock();
			if (distance + length >= other->distance)
				continue;
			other->distance = distance + length;
			queue.emplace(other->distance, other);
		}
	}
	std::uint64_t sum = 0, reached = 0;
	for (auto &node : nodes) {
		if (node->distance == UINT64_MAX)
			continue;
		sum = sum * 31 + node->distance;
		reached++;
	}
	report("shared_ptr graph, priority_queue", reached, sum);
}

// A log in one string stream, read back by line and taken apart by a regular expression.
void streams(std::size_t size)
{
	Random random(6);
	std::stringstream log;
	const std::size_t lines = size / 400;
	for (std::size_t i = 0; i < lines; i++)
		log << "2026-" << 1 + i % 12 << '-' << 1 + i % 28 << " [" << word(random) << "] "
		    << word(random) << '=' << random.below(100000) << '\n';
	const std::regex form(R"((\d+)-(\d+)-(\d+) \[(\w+)\] (\w+)=(\d+))");
	std::map<std::string, std::uint64_t> totals;
	std::string line;
	std::size_t matched = 0;
	while (std::getline(log, line)) {
		std::smatch parts;
		if (!std::regex_match(line, parts, form))
			continue;
		totals[parts[2].str()] += std::stoull(parts[6].str());
		matched++;
	}
	std::uint64_t sum = 0;
	for (const auto &[month, total] : totals)
		sum = hash(month, sum) + total;
	report("stringstream, regex", matched, sum);
}

// Thrown through frames whose destructors have something to free.
std::uint64_t descend(unsigned depth, std::size_t &freed)
{
	struct Guard {
		std::unique_ptr<std::vector<int>> data;
		std::size_t &count;
		~Guard() { count += data->size(); }
	} guard{ std::make_unique<std::vector<int>>(100 + depth), freed };
	if (depth == 0)
		throw std::out_of_range("the bottom was reached, and this is its message: " +
		                        std::string(200, 'x'));
	return descend(depth - 1, freed) + 1;
}

void exceptions(std::size_t size)
{
	std::size_t freed = 0, count = size / 8192;
	std::uint64_t sum = 0;
	std::vector<std::exception_ptr> kept;
	for (std::size_t i = 0; i < count; i++) {
		try {
			sum += descend(static_cast<unsigned>(i % 60), freed);
		} catch (const std::exception &) {
			kept.push_back(std::current_exception());
		}
	}
	for (const auto &pointer : kept) {
		try {
			std::rethrow_exception(pointer);
		} catch (const std::out_of_range &error) {
			sum = hash(error.what(), sum);
		}
	}
	report("exceptions", kept.size(), sum + freed);
}

// Each thread sorts its own part; the parts are merged. Their sums meet under a mutex.
void threads(std::size_t size)
{
	constexpr std::size_t count = 4;
	std::vector<std::vector<std::uint64_t>> parts(count);
	std::vector<std::thread> running;
	std::mutex lock;
	std::uint64_t sum = 0;
	for (std::size_t i = 0; i < count; i++)
		running.emplace_back([&, i] {
			Random random(100 + i);
			std::uint64_t mine = 0;
			auto &part = parts[i];
			for (std::size_t n = 0; n < size / 24 / count; n++)
				part.push_back(random());
			std::sort(part.begin(), part.end());
			for (std::size_t n = 0; n < part.size(); n += 97) {
				std::ostringstream text;
				text << part[n];
				mine += hash(text.str());
			}
			std::lock_guard<std::mutex> guard(lock);
			sum += mine;
		});
	for (auto &thread : running)
		thread.join();
	std::vector<std::uint64_t> all;
	for (auto &part : parts) {
		std::vector<std::uint64_t> merged(all.size() + part.size());
		std::merge(all.begin(), all.end(), part.begin(), part.end(), merged.begin());
		all.swap(merged);
	}
	for (std::uint64_t value : all)
		sum = sum * 31 + value;
	report("threads", all.size(), sum);
}

} // namespace

int main(int argc, char **argv)
{
	const long mib = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 40;
	if (argc > 2 || mib < 1 || mib > 65536) {
		std::cerr << "usage: " << argv[0] << " [MIB]\n";
		return 2;
	}
	try {
		const std::size_t size = static_cast<std::size_t>(mib) * 400 * 1024;
		for (auto section : { strings, ordered, hashed, sequences, graph, streams,
		                      exceptions, threads })
			section(size);
	} catch (const std::exception &error) {
		std::cerr << "containers: " << error.what() << '\n';
		return 1;
	}
	std::cout.flush();
	return std::cout ? 0 : 1;
}
