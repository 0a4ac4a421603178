/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check_malloc_cxx.cc - do the objects of a C++ program lie in paged memory?
 *
 * operator new and the containers take their memory from malloc, which is ours. Exit status 0,
 * or 1 after a line that says what was wrong.
 */
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "upage_malloc.h"

static int failures;

#define EXPECT(condition)                                                                     \
	((condition) ? (void)0                                                                \
	             : (void)(failures++, std::fprintf(stderr, "%d: %s\n", __LINE__, #condition)))

static bool is_inside(const void *object)
{
	auto base = reinterpret_cast<std::uintptr_t>(upage_space_base(upage_malloc_space()));
	return reinterpret_cast<std::uintptr_t>(object) - base < upage_space_length(upage_malloc_space());
}

struct alignas(4096) page {
	char content[4096];
};

/* Made before main(), by a constructor that runs after ours. */
static std::map<int, std::string> early = { { 1, std::string(1000, 'a') }, { 2, "b" } };

static void test_new()
{
	std::unique_ptr<int> one(new int(7));
	std::unique_ptr<char[]> many(new char[1 << 20]());
	std::unique_ptr<page> aligned(new page());
	std::unique_ptr<page[]> pages(new page[5]());
	EXPECT(is_inside(one.get()) && is_inside(many.get()) && is_inside(aligned.get()));
	EXPECT(reinterpret_cast<std::uintptr_t>(aligned.get()) % 4096 == 0);
	EXPECT(reinterpret_cast<std::uintptr_t>(&pages[1]) % 4096 == 0 && is_inside(&pages[4]));
	EXPECT(many[1 << 19] == 0 && pages[4].content[4095] == 0);
	volatile std::size_t huge = SIZE_MAX / 4;
	bool caught = false;
	try {
		char *block = new char[huge];
		EXPECT(block == nullptr);
		delete[] block;
	} catch (const std::bad_alloc &) {
		caught = true;
	}
	EXPECT(caught);
	EXPECT(new (std::nothrow) char[huge] == nullptr);
}

static void test_containers()
{
	std::unordered_map<std::string, std::vector<std::uint64_t>> map;
	for (std::uint64_t i = 0; i < 200000; i++)
		map["key " + std::to_string(i % 20000)].push_back(i);
	std::uint64_t sum = 0;
	bool inside = true;
	for (auto &[name, values] : map) {
		inside = inside && is_inside(&name) && is_inside(values.data());
		for (auto value : values)
			sum += value;
	}
	EXPECT(inside);
	EXPECT(sum == UINT64_C(200000) * 199999 / 2);
	std::ostringstream stream;
	for (int i = 0; i < 10000; i++)
		stream << i << ' ';
	EXPECT(stream.str().size() == 48890);
	EXPECT(is_inside(&early.at(1)) && is_inside(early.at(1).data()) && early.at(1)[999] == 'a');
}

static void test_threads()
{
	std::vector<std::thread> threads;
	std::atomic<int> wrong{ 0 };
	for (int i = 0; i < 4; i++)
		threads.emplace_back([i, &wrong] {
			std::map<int, std::string> map;
			for (int j = 0; j < 20000; j++)
				map[j * 7919 % 20011] = std::string(static_cast<std::size_t>(j % 300), 'x');
			for (auto &[number, text] : map)
				if (!is_inside(&text) || text.find_first_not_of('x') != std::string::npos)
					wrong++;
			wrong += map.size() != 20000;
			(void)i;
		});
	for (auto &thread : threads)
		thread.join();
	EXPECT(wrong == 0);
}

int main()
{
	test_new();
	test_containers();
	test_threads();
	return failures == 0 ? 0 : 1;
}
