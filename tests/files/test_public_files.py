"""A few made-up rows in the form of each public download and shop export: what is read, or why it is refused."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommender.errors import InputFileError
from recommender.files import ShopRatings
from tests.files.conftest import Read

A, B = "B00000000A", "B00000000B"

Row = tuple[int, str, float, dt.datetime | None]


def rows(shop: ShopRatings) -> list[tuple[str | int, str, float, dt.datetime | None]]:
    """(the shop's own user id, product, stars, time) of each rating."""
    names = {number: name for name, number in shop.user_ids.items()}
    columns = (shop.ratings[name].to_pylist() for name in ("user_id", "product_id", "rating", "created_at"))
    return [(names.get(user, user), *rest) for user, *rest in zip(*columns, strict=True)]


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None)


def test_movielens_100k(read: Read) -> None:
    shop = read("196\t0000000242\t3\t881250949\n186\t0000000302\t3\t891717742\n22\t0000000377\t1\t878887116\n")
    assert shop.understood == ("tab-separated, no header: user_id, product_id, rating, timestamp (seconds); 3 rows")
    assert rows(shop) == [
        (22, "0000000377", 1.0, at(878887116)),
        (186, "0000000302", 3.0, at(891717742)),
        (196, "0000000242", 3.0, at(881250949)),
    ]


def test_movielens_1m(read: Read) -> None:
    shop = read("1::0000001193::5::978300760\n1::0000000661::3::978302109\n")
    assert shop.understood == "::-separated, no header: user_id, product_id, rating, timestamp (seconds); 2 rows"
    assert rows(shop) == [(1, "0000000661", 3.0, at(978302109)), (1, "0000001193", 5.0, at(978300760))]


def test_movielens_latest(read: Read) -> None:
    shop = read("userId,movieId,rating,timestamp\r\n1,0000000001,4.0,964982703\r\n1,0000000003,0.5,964981247\r\n")
    assert shop.understood == (
        "comma-separated: user_id = userId, product_id = movieId, rating, timestamp (seconds); 2 rows"
    )
    assert rows(shop) == [(1, "0000000001", 4.0, at(964982703)), (1, "0000000003", 0.5, at(964981247))]


def test_amazon_2014_has_the_user_first_and_no_header(read: Read) -> None:
    shop = read("A39HTATAQ9V7YF,0205616461,5.0,1369699200\nA3JM6GV9MNOF9X,0558925278,3.0,1355443200\n")
    assert shop.understood.startswith("comma-separated, no header: user_id, product_id, rating, timestamp (seconds)")
    assert rows(shop) == [
        ("A39HTATAQ9V7YF", "0205616461", 5.0, at(1369699200)),
        ("A3JM6GV9MNOF9X", "0558925278", 3.0, at(1355443200)),
    ]


def test_amazon_2018_has_the_product_first_and_no_header(read: Read) -> None:
    shop = read("0143026860,A1V6B6TNIC10QE,1.0,1424304000\n014789302X,A2F5GHSXFQ0W6J,4.0,1418860800\n")
    assert shop.understood.startswith("comma-separated, no header: product_id, user_id, rating, timestamp (seconds)")
    assert rows(shop)[0] == ("A1V6B6TNIC10QE", "0143026860", 1.0, at(1424304000))


def test_amazon_2014_and_2018_reviews_as_json_lines(read: Read) -> None:
    review = {
        "reviewerID": "A2SUAM1J3GNN3B",
        "asin": "0000013714",
        "helpful": [2, 3],
        "reviewText": 'He "plays"\nit',
        "overall": 5.0,
        "unixReviewTime": 1252800000,
        "reviewTime": "09 13, 2009",
    }
    shop = read(gzip.compress((json.dumps(review) + "\n").encode()))
    assert shop.understood == (
        "gzip, JSON lines: user_id = reviewerID, product_id = asin, rating = overall, "
        "timestamp = unixReviewTime (seconds); 1 rows; columns ignored: helpful, reviewText, reviewTime"
    )
    assert rows(shop) == [("A2SUAM1J3GNN3B", "0000013714", 5.0, at(1252800000))]


def test_amazon_2023(read: Read) -> None:
    line = {"rating": 4.0, "title": "x", "asin": A, "parent_asin": B, "user_id": "AGKHLEW", "timestamp": 1588687728923}
    of_json = read("\n".join([json.dumps(line), json.dumps(line | {"user_id": "B", "rating": 5})]))
    assert rows(of_json) == [("AGKHLEW", B, 4.0, at(1588687728.923)), ("B", B, 5.0, at(1588687728.923))]
    assert "product_id = parent_asin, user_id, timestamp (milliseconds)" in of_json.understood
    of_csv = read(f"user_id,parent_asin,rating,timestamp\nAGKHLEW,{B},4.0,1588687728923\n")
    assert rows(of_csv) == rows(of_json)[:1]


def test_amazon_customer_reviews_have_quotes_as_text(read: Read) -> None:
    head = "marketplace\tcustomer_id\treview_id\tproduct_id\tstar_rating\treview_headline\treview_date\n"
    shop = read(f'{head}US\t18778586\tR1\t{A}\t5\t"The" best\t2015-08-31\nUS\t24769659\tR2\t{B}\t1\t"odd\t2015-08-30\n')
    assert rows(shop) == [(18778586, A, 5.0, dt.datetime(2015, 8, 31)), (24769659, B, 1.0, dt.datetime(2015, 8, 30))]
    assert (shop.rows, shop.rejected) == (2, 0)


def test_book_crossing_is_semicolons_and_windows_1252(read: Read) -> None:
    text = '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"5"\n"276726";"Möb";"5"\n"276727";"0155061224";"4"\n'
    shop = read(text.encode("cp1252"))
    assert shop.understood == (
        "semicolon-separated, Windows-1252: user_id = User-ID, product_id = ISBN, rating = Book-Rating; 3 rows"
    )
    assert rows(shop) == [
        (276725, "034545104X", 5.0, None),
        (276726, "Möb", 5.0, None),
        (276727, "0155061224", 4.0, None),
    ]


def test_goodreads_reviews(read: Read) -> None:
    line = {"user_id": "8842281e", "book_id": A, "rating": 4, "date_added": "Wed Jan 03 22:09:08 -0800 2018"}
    shop = read(json.dumps(line | {"read_at": ""}) + "\n")
    assert rows(shop) == [("8842281e", A, 4.0, dt.datetime(2018, 1, 4, 6, 9, 8))]


def test_goodreads_interactions(read: Read) -> None:
    shop = read(f"user_id,book_id,is_read,rating,is_reviewed\n7,{A},1,5,0\n8,{B},0,3,0\n")
    assert rows(shop) == [(7, A, 5.0, None), (8, B, 3.0, None)]


def test_yelp(read: Read) -> None:
    line = {"review_id": "K", "user_id": "mh_-eMZ6", "business_id": A, "stars": 3.0, "date": "2018-07-07 22:09:11"}
    assert rows(read(json.dumps(line) + "\n")) == [("mh_-eMZ6", A, 3.0, dt.datetime(2018, 7, 7, 22, 9, 11))]


def test_shopify_reviews(read: Read) -> None:
    head = "product_handle,state,rating,title,author,email,location,body,reply,created_at,replied_at\n"
    shop = read(f'{head}{A},published,5,Nice,Ann,ann@example.com,,"two\nlines",,2023-05-06 07:08:09 +0200,\n')
    assert rows(shop) == [("ann@example.com", A, 5.0, dt.datetime(2023, 5, 6, 5, 8, 9))]


def test_woocommerce_reviews(read: Read) -> None:
    head = "comment_ID,comment_post_ID,comment_author,comment_author_email,comment_date,comment_date_gmt,rating,user_id"
    shop = read(f"\ufeff{head},product_SKU\n9,77,Ann,a@x.org,2024-05-06 09:00:00,2024-05-06 07:00:00,4,12,{A}\n")
    assert rows(shop) == [(12, A, 4.0, dt.datetime(2024, 5, 6, 7))]


def test_parquet_as_other_tools_write_it(read: Read, tmp_path: Path) -> None:
    when = dt.datetime(2024, 2, 3, 4, 5, 6, 789_000)
    table = pa.table(
        {"CustomerId": [84.0, 7.0], "item": [A, B], "score": pa.array([5, 1], pa.int8()), "time": [when, None]}
    )
    pq.write_table(table, tmp_path / "r.parquet", compression="snappy")
    shop = read((tmp_path / "r.parquet").read_bytes())
    assert shop.understood == (
        "Parquet: user_id = CustomerId, product_id = item, rating = score, timestamp = time (ISO 8601); 2 rows"
    )
    assert rows(shop) == [(7, B, 1.0, None), (84, A, 5.0, when)]


NO_STARS = {
    "Retailrocket": f"timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,{A},\n",
    "Last.fm, HetRec": f"userID\tartistID\tweight\n2\t{A}\t13883\n2\t{B}\t11690\n",
    "Goodreads shelves": f"user_id,book_id,is_read\n0,{A},1\n",
}


@pytest.mark.parametrize("name", NO_STARS)
def test_a_file_of_interactions_that_is_given_as_ratings_is_offered_as_what_it_is(read: Read, name: str) -> None:
    with pytest.raises(InputFileError) as error:
        read(NO_STARS[name])
    header = NO_STARS[name].split("\n")[0].replace("\t", ",").replace(",", ", ")
    assert f"no column rating among {header}: if these are clicks or orders, " in str(error.value)
    assert "python load_recommendation_data.py --interactions " in str(error.value)
    assert "\n" not in str(error.value)


ORDERS = {
    "Instacart": (f"order_id,product_id,add_to_cart_order,reordered\n2,{A},1,1\n", "user_id, rating"),
    "Shopify orders": (
        f"Name,Email,Financial Status,Created at,Lineitem quantity,Lineitem sku\n#1,a@x.org,paid,2024-01-01,1,{A}\n",
        "rating",
    ),
    "WooCommerce orders": (
        "Order Number,Order Status\n1,completed\n",
        "user_id, product_id",
    ),
    "Online Retail": (
        f"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        f"536365,{A},CUPID \xa3,6,12/1/2010 8:26,2.55,17850,United Kingdom\n",
        "rating",
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_a_file_of_orders_is_refused_in_a_line_that_names_what_is_missing(read: Read, name: str) -> None:
    text, missing = ORDERS[name]
    with pytest.raises(InputFileError, match=f"no column {missing}.* among ") as error:
        read(text.encode("cp1252"))
    assert "\n" not in str(error.value)


def test_yoochoose_clicks_and_lastfm_plays_have_no_header_and_no_plain_columns(read: Read) -> None:
    for text in (
        f"1,2014-04-07T10:51:09.277Z,{A},0\n1,2014-04-07T10:54:09.868Z,{B},0\n",
        f"00000c289a1829a8\t{A}\tbetty blowtorch\t2137\n00000c289a1829a8\t{B}\tdie Ärzte\t1099\n",
    ):
        with pytest.raises(InputFileError) as error:
            read(text)
        first = text.split("\n")[0]
        assert f"its first line is {first!r}: name all in their order, as --columns user_id,product_id," in str(
            error.value
        )
    with pytest.raises(InputFileError, match="no column rating among user_id, timestamp, product_id, col"):
        read(f"1,2014-04-07T10:51:09.277Z,{A},0\n", "user,time,product,-")


def test_a_zip_of_several_files_and_a_workbook_are_told_apart(read: Read, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        archive.writestr("ml/ratings.csv", "")
        archive.writestr("ml/movies.csv", "")
    with pytest.raises(InputFileError, match=r"holds 2 files \(ml/ratings.csv, ml/movies.csv\): unpack it, and name"):
        read((tmp_path / "ml.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        for name in ("README.txt", "ml/ratings.csv", "ml/LICENSE", "ml/.hidden", "ml/scales.html", "__MACOSX/x.csv"):
            archive.writestr(name, f"userId,movieId,rating\n7,{A},4.5\n" if name == "ml/ratings.csv" else "about it")
    found = read((tmp_path / "one.zip").read_bytes())
    assert found.understood.startswith("zip (ml/ratings.csv), comma-separated: user_id = userId, ")
    assert rows(found) == [(7, A, 4.5, None)]
    with zipfile.ZipFile(tmp_path / "retail.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    with pytest.raises(InputFileError, match="is an Excel workbook: save its sheet as CSV"):
        read((tmp_path / "retail.xlsx").read_bytes())
