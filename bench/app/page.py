"""A Django page: URL routing, a middleware, rows from SQLite through the ORM, a template.

Run as a program it makes the database and prints the page, which is what servers are held against.
"""

import os
import sys

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpResponse
from django.template import Context, Engine
from django.urls import path

HERE = os.path.dirname(os.path.abspath(__file__))

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(HERE, "page.db"),
        }
    },
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not a secret",
    USE_TZ=True,
)
django.setup()


class Item(models.Model):
    name = models.CharField(max_length=40)
    price = models.IntegerField()

    class Meta:
        app_label = "bench"


TEMPLATE = Engine().from_string(
    """<!doctype html>
<title>Items</title>
<ul>
{% for item in items %}<li class="{% cycle 'odd' 'even' %}">{{ item.name|title }}: {{ item.price }}
{% endfor %}</ul>
"""
)


def page(request):
    items = Item.objects.filter(price__gt=10).order_by("name")[:20]
    return HttpResponse(TEMPLATE.render(Context({"items": items})))


urlpatterns = [path("django", page)]
application = get_wsgi_application()


def main():
    with connection.schema_editor() as editor:
        editor.create_model(Item)
    Item.objects.bulk_create(
        Item(name=f"thing <{number:03}>", price=number) for number in range(200)
    )
    connection.close()

    from django.test import RequestFactory

    sys.stdout.buffer.write(page(RequestFactory().get("/django")).content)


if __name__ == "__main__":
    main()
