"""An admin site with the sample documents, and users and groups beside them."""

from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.urls import path
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite

from .models import Clinic, Treatment


class TreatmentAdmin(ModelAdmin):
    list_display = ("code", "title", "offered", "starts_at", "clinic")
    list_filter = ("offered", "clinic", "starts_at")
    search_fields = ("code", "title", "clinic__name")
    date_hierarchy = "starts_at"
    list_select_related = ("clinic",)
    ordering = ("-starts_at",)
    actions_on_top = True
    fields = ("code", "title", "price", "offered", "starts_at", "clinic")


site = UnfoldAdminSite(name="admin")
site.register(Treatment, TreatmentAdmin)
site.register(Clinic, ModelAdmin)
site.register(User, UserAdmin)
site.register(Group, GroupAdmin)

urlpatterns = [path("admin/", site.urls)]
