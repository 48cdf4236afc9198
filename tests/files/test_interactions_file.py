"""A shop's interactions: the public files as they are downloaded, the words for types, and the optional columns.

Product ids have ten characters, as the tables still ask for.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.errors import InputFileError, RecommenderError, SettingError, TooManyRejectedError
from recommender.files import RejectedRows, ShopInteractions, read_interactions_file
from recommender.files.interactions_file import TYPE_WORDS, count_column, or_null, type_column

NOW = dt.datetime(2026, 6, 1, 12)
A, B = "B00000000A", "B00000000B"

Read = Callable[..., ShopInteractions]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a file with this content."""

    def reader(content: str | bytes, columns: str | None = None, **options: Any) -> ShopInteractions:
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        limit = options.pop("limit", None)
        with RejectedRows(tmp_path / "rejected_rows.csv", limit=limit) as rejected:
            return read_interactions_file(path, rejected, loaded_at=NOW, columns=columns, **options)

    return reader


def rows(found: ShopInteractions, *names: str) -> list[tuple[Any, ...]]:
    """(user, product, type, time, the columns of these names) of each event."""
    wanted = ("product_id", "interaction_type", "created_at", *names)
    columns = (found.events[name].to_pylist() for name in wanted)
    return list(zip(found.user_ids.to_pylist(), *columns, strict=True))


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None)


def test_retailrocket(read: Read) -> None:
    head = "timestamp,visitorid,event,itemid,transactionid\n"
    found = read(
        f"{head}1433221332117,257597,view,{A},\n1433224214164,9,addtocart,{B},\n1433221999827,8,transaction,{A},4000\n"
    )
    assert found.understood == (
        "comma-separated: timestamp (milliseconds), user_id = visitorid, interaction_type = event, product_id = "
        "itemid, order_id = transactionid; 3 rows"
    )
    assert rows(found, "order_id") == [
        ("257597", A, "view", at(1433221332.117), None),
        ("9", B, "add_to_cart", at(1433224214.164), None),
        ("8", A, "purchase", at(1433221999.827), "4000"),
    ]


def test_yoochoose_clicks_and_buys_are_of_sessions(read: Read) -> None:
    clicks = read(f"1,2014-04-07T10:51:09.277Z,{A},0\n", "user,time,product,_", kind="click")
    assert rows(clicks) == [("1", A, "click", dt.datetime(2014, 4, 7, 10, 51, 9, 277_000))]
    assert clicks.understood.endswith("; it has no column of types: all are of the type click")
    buys = read(f"420374,2014-04-06T18:44:58.314Z,{B},12462,1\n", "user,time,product,price,quantity")
    assert rows(buys, "value", "quantity") == [
        ("420374", B, "purchase", dt.datetime(2014, 4, 6, 18, 44, 58, 314_000), 12_462.0, 1)
    ]
    assert buys.understood.endswith("; it has no column of types: all are of the type purchase")


def test_instacart_says_that_its_two_files_are_to_be_joined(read: Read) -> None:
    with pytest.raises(InputFileError) as error:
        read(f"order_id,product_id,add_to_cart_order,reordered\n2,{A},1,1\n")
    assert (
        "name it, as --columns user_id=NAME; if the users of its orders are in another file, join the two by order_id "
        "first" in str(error.value)
    )
    with pytest.raises(
        InputFileError, match="if the products of its orders are in another file, join the two by order_id"
    ):
        read("order_id,user_id,eval_set,order_number,order_dow\n2539329,1,prior,1,2\n")
    joined = read(f"order_id,user_id,eval_set,order_number,product_id,reordered\n2,202279,prior,3,{A},1\n")
    assert rows(joined, "order_id") == [("202279", A, "purchase", None, "2")]


def test_online_retail(read: Read) -> None:
    head = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    lines = [f"536365,{A},CUPID \xa3,6,12/1/2010 8:26,2.55,17850,United Kingdom"] * 12
    lines += [f"536366,{B},HOOK,12,12/31/2010 16:00,1.65,17851.0,France"]
    lines += [f"C536379,{A},Discount,-1,12/31/2010 9:41,27.5,14527,United Kingdom"]
    found = read((head + "\n".join(lines)).encode("cp1252"))
    assert "timestamp = InvoiceDate (month/day/year), value = UnitPrice, user_id = CustomerID" in found.understood
    assert rows(found, "order_id", "quantity", "value")[11:] == [
        ("17850", A, "purchase", dt.datetime(2010, 12, 1, 8, 26), "536365", 6, 2.55),
        ("17851.0", B, "purchase", dt.datetime(2010, 12, 31, 16), "536366", 12, 1.65),
    ]
    assert (found.rows, found.rejected) == (14, 1)  # what was sent back


def test_lastfm_plays(read: Read) -> None:
    text = f"00000c289a1829a8\t{A}\tbetty blowtorch\t2137\n00001411dc427966\t{B}\tdie Ärzte\t1099\n"
    found = read(text, "user,product,_,plays", kind="view")
    assert rows(found, "quantity") == [
        ("00000c289a1829a8", A, "view", None, 2137),
        ("00001411dc427966", B, "view", None, 1099),
    ]
    of_hetrec = read(f"userID\tartistID\tweight\n2\t{A}\t13883\n")
    assert rows(of_hetrec, "quantity") == [("2", A, "purchase", None, 13883)]


def test_goodreads_interactions(read: Read) -> None:
    found = read(f"user_id,book_id,is_read,rating,is_reviewed\n0,{A},1,0,0\n", kind="view")
    assert rows(found) == [("0", A, "view", None)]
    assert "columns ignored: is_read, rating, is_reviewed" in found.understood
    line = {"user_id": "8842281e", "book_id": A, "is_read": False, "date_added": "Wed Jan 03 22:09:08 -0800 2018"}
    assert rows(read(json.dumps(line) + "\n")) == [("8842281e", A, "purchase", dt.datetime(2018, 1, 4, 6, 9, 8))]


def test_shopify_orders(read: Read) -> None:
    head = "Name,Email,Financial Status,Created at,Lineitem quantity,Lineitem price,Lineitem sku\n"
    found = read(f"{head}#1001,a@x.org,paid,2024-01-01 10:00:00 +0100,2,$9.50,{A}\n")
    assert rows(found, "quantity", "value") == [("a@x.org", A, "purchase", dt.datetime(2024, 1, 1, 9), 2, 9.5)]


def test_woocommerce_orders(read: Read) -> None:
    """The columns of two usual plugins for exports: neither has a column of users under a plain name."""
    head = "Order Number,Order Status,Order Date,Email (Billing),SKU,Item #,Item Name,Quantity,Item Cost\n"
    found = read(f'\ufeff{head}7,completed,"2024-05-06 09:00",a@x.org,{A},1,Mug,2,4.50\n')
    assert rows(found, "order_id", "quantity", "value") == [
        ("a@x.org", A, "purchase", dt.datetime(2024, 5, 6, 9), "7", 2, 4.5)
    ]
    found = read(f"order_id,customer_user,billing_email,sku,qty\n7,12,a@x.org,{A},2\n")
    assert rows(found, "order_id", "quantity") == [("12", A, "purchase", None, "7", 2)]
    assert rows(read(f"Product,Customer,SKU\nMug,12,{A}\n")) == [("12", A, "purchase", None)]
    assert rows(read(f"Customer #,Item #\n12,{A}\n")) == [("12", A, "purchase", None)]


def test_sessions_can_stand_for_people_who_are_not_known(read: Read) -> None:
    text = f"session_id,item_id,type\ns1,{A},clicks\n"
    with pytest.raises(InputFileError, match="if nobody is known, take the sessions: user_id=session_id in the option"):
        read(text)
    assert rows(read(text, "user_id=session_id")) == [("s1", A, "click", None)]


def test_a_type_of_all_rows_is_one_of_ours_and_for_a_file_without_types(read: Read) -> None:
    with pytest.raises(SettingError, match="--interaction-type 'wish' is none of view, click, add_to_cart, purchase"):
        read(f"user,item\n1,{A}\n", kind="wish")
    with pytest.raises(SettingError, match="has a column of types, event"):
        read(f"user,item,event\n1,{A},view\n", kind="view")


def test_rows_with_an_unknown_type_or_an_odd_quantity_are_rejected_by_name(read: Read, tmp_path: Path) -> None:
    lines = [f"{user},{A},view,1" for user in range(1, 40)]
    found = read(
        "user,item,event,qty\n" + "\n".join([*lines, f"1,{A},wish,1", f"1,{A},view,1.5", f"1,{A},view,0"]), limit=3
    )
    assert (found.rows, found.events.num_rows, found.rejected) == (42, 39, 3)
    reasons = (tmp_path / "rejected_rows.csv").read_text()
    assert "interaction_type 'wish' is none of view, click, add_to_cart, purchase, nor a known word for one" in reasons
    assert "quantity '1.5' is not a whole number" in reasons
    assert "quantity '0' is out of range" in reasons
    with pytest.raises(TooManyRejectedError):
        read("user,item,event\n" + f"1,{A},view\n" * 5 + f"1,{A},wish\n" * 5)


@given(st.sampled_from([(ours, word) for ours, words in TYPE_WORDS.items() for word in words.split()]), st.data())
def test_the_words_for_types_are_known_in_any_case_and_with_any_sign_between(
    pair: tuple[str, str], data: st.DataObject
) -> None:
    ours, word = pair
    at = data.draw(st.integers(0, len(word)))
    shown = word[:at] + data.draw(st.sampled_from(["", "_", "-", " ", ":"])) + word[at:]
    shown = data.draw(st.sampled_from([shown, shown.upper(), shown.title()]))
    column = type_column()
    assert column.exact(shown) == ours
    both = column.fast(pa.array([shown, "view"]))
    assert both is not None
    assert both.to_pylist() == [ours, "view"]


@given(
    st.lists(st.sampled_from(["", "1", "2.0", "2147483647", "0", "-1", "1.5", "x", "2147483648", "1e2"]), min_size=1)
)
def test_the_two_readers_of_a_quantity_agree(texts: list[str]) -> None:
    column = or_null(count_column("quantity"))
    try:
        fast = column.fast(pa.array(texts, pa.string()))
    except pa.ArrowInvalid:
        fast = None
    if fast is not None:
        assert fast.to_pylist() == [column.exact(text) for text in texts]
    else:
        with pytest.raises(ValueError, match="quantity|number|range"):
            [column.exact(text) for text in texts]


def test_every_refusal_is_one_line(read: Read) -> None:
    for text in ("", "user,item\n", "a,b\n1,2\n", "user,item\n1,..\n"):
        with pytest.raises(RecommenderError) as error:
            read(text)
        assert "\n" not in str(error.value)
