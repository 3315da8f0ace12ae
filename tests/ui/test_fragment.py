"""Parts of a page that rerun alone: one within another is an ordinary part of it."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.runtime.fragment import MemoryFragmentStorage
from streamlit.testing.v1 import AppTest


def test_a_part_within_another_is_no_fragment_of_its_own(fragments: dict[str, str | None]) -> None:
    def page() -> None:
        import streamlit as st

        from eavdash.ui.fragment import fragment

        @fragment()
        def inner(text: str) -> None:
            st.write(text)

        @fragment(run_every=60)
        def outer() -> None:
            inner("inside")

        outer()
        inner("outside")

    app = AppTest.from_function(page).run()
    assert not app.exception
    assert [text.value for text in app.markdown] == ["inside", "outside"]
    assert list(fragments.values()) == [None, None], "of the outer one, and of the inner one on the page itself"


def test_a_part_that_runs_by_itself_is_refused_within_another() -> None:
    def page() -> None:
        import streamlit as st

        from eavdash.ui.fragment import fragment

        @fragment(run_every=60)
        def inner() -> None: ...

        @fragment()
        def outer() -> None:
            try:
                inner()
            except RuntimeError as error:
                st.error(str(error))

        outer()

    app = AppTest.from_function(page).run()
    assert "draw it outside of other fragments" in app.error[0].value


def test_a_page_that_stops_leaves_no_part_that_was_shown_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A click on one that arrives late would draw it on a page that has no place for it."""
    storages: list[MemoryFragmentStorage] = []
    register = MemoryFragmentStorage.register

    def kept(self: MemoryFragmentStorage, key: str, *args: Any, **more: Any) -> None:
        storages.append(self)
        register(self, key, *args, **more)

    monkeypatch.setattr(MemoryFragmentStorage, "register", kept)

    def page() -> None:
        import streamlit as st
        from streamlit.runtime.scriptrunner import get_script_run_ctx

        from eavdash.ui.fragment import fragment, stop

        @fragment()
        def part() -> None:
            st.write("of this run")

        get_script_run_ctx().fragment_storage.register("earlier", part)  # type: ignore[union-attr]
        part()
        stop()

    app = AppTest.from_function(page).run()
    assert not app.exception
    (storage,) = set(storages)
    assert not storage.contains("earlier")
    assert len(storage._fragments) == 1, "that of this run"
